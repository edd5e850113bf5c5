"""What the pipelines return, for type checkers: plain dicts with these fields."""

from typing import Any, NotRequired, TypedDict


class Label(TypedDict):
    """A label of a text or an image, with its score."""

    label: str
    score: float


class Entity(TypedDict):
    """A tagged token, or with an aggregation strategy an entity; `start` and `end` count characters of the text."""

    entity: NotRequired[str]
    entity_group: NotRequired[str]
    index: NotRequired[int]
    score: float
    word: str
    start: int | None
    end: int | None


class RankedDocument(TypedDict):
    """A document's place in the list that was given, and its score; the text only on request."""

    corpus_id: int
    score: float
    text: NotRequired[str]


class FilledMask(TypedDict):
    """One token for a mask, and the text with it."""

    score: float
    token: int
    token_str: str
    sequence: str


class Answer(TypedDict):
    """An answer; `start` and `end` count characters of the context."""

    score: float
    start: int
    end: int
    answer: str


class Ranking(TypedDict):
    """Candidate labels of a text, best first."""

    sequence: str
    labels: list[str]
    scores: list[float]


class GeneratedText(TypedDict):
    """A text that was generated."""

    generated_text: str


class Summary(TypedDict):
    """A summary."""

    summary_text: str


class Translation(TypedDict):
    """A translation."""

    translation_text: str


class Transcript(TypedDict):
    """What was said; `chunks` with their times where they are asked for."""

    text: str
    chunks: NotRequired[list[dict[str, Any]]]


Features = list[list[list[float]]]
