"""Sentences for the demo and for agreement: five pairs that mean the same, in other words."""

TEXTS = (
    "The cat sits on the mat.",
    "A feline is resting on a rug.",
    "She bought a new car last week.",
    "A week ago she purchased an automobile.",
    "The stock market fell sharply on Monday.",
    "Shares dropped a lot at the start of the week.",
    "He plays the violin in an orchestra.",
    "He is an orchestra's violinist.",
    "It will rain in the mountains tomorrow.",
    "Tomorrow, showers are expected in the hills.",
)
