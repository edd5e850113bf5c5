"""From scored tokens to labelled words and entities, as transformers' token classification names them; runs nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Token:
    """A token that is not special: its `scores` [labels], its place in the text, its `index` among the tokens.

    `continues`: it belongs to the word of the token before.
    """

    text: str
    scores: np.ndarray
    start: int
    end: int
    index: int
    continues: bool


@dataclass(frozen=True)
class Labelled:
    """A token or a word with its likeliest label."""

    label: str
    score: np.floating
    word: str
    start: int
    end: int

    @property
    def tag(self) -> str:
        """The label without B- or I-."""
        return self.label[2:] if self.label.startswith(("B-", "I-")) else self.label

    def continues(self, previous: "Labelled") -> bool:
        """Tell whether this is of the entity that `previous` is of."""
        return self.tag == previous.tag and not self.label.startswith("B-")


@dataclass(frozen=True)
class Naming:
    """What names things: the model's labels by number, and how tokens' texts become one text."""

    labels: Mapping[int, str]
    join: Callable[[list[str]], str]

    def labelled(self, scores: np.ndarray, word: str, span: tuple[int, int]) -> Labelled:
        """Return the word with the likeliest label of `scores` [labels]."""
        best = int(scores.argmax())
        return Labelled(self.labels.get(best, f"LABEL_{best}"), scores[best], word, *span)


def _first(tokens: Sequence[Token]) -> np.ndarray:
    return tokens[0].scores


def _average(tokens: Sequence[Token]) -> np.ndarray:
    return np.mean([token.scores for token in tokens], axis=0)


def _surest(tokens: Sequence[Token]) -> np.ndarray:
    return max(tokens, key=lambda token: token.scores.max()).scores


# How a word's scores [labels] come from its tokens.
WORD_STRATEGIES = {"first": _first, "average": _average, "max": _surest}
STRATEGIES = ("none", "simple", *WORD_STRATEGIES)


def entities_of(tokens: Sequence[Token], strategy: str, naming: Naming) -> list[dict[str, Any]]:
    """Return the tokens with their labels ("none"), or entities of neighbours with one label."""
    labelled = _words(tokens, strategy, naming) if strategy in WORD_STRATEGIES else _each(tokens, naming)
    if strategy == "none":
        return [_token_entity(token, item) for token, item in zip(tokens, labelled, strict=True)]
    return [_group_entity(group, naming) for group in _grouped(labelled)]


def without_overlaps(entities: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entities of overlapping windows by their start: of two that overlap the longer, then the surer."""
    kept: list[dict[str, Any]] = []
    for entity in sorted(entities, key=lambda entity: entity["start"]):
        if not kept or entity["start"] >= kept[-1]["end"]:
            kept.append(entity)
        elif _weight(entity) > _weight(kept[-1]):
            kept[-1] = entity
    return kept


def _weight(entity: Mapping[str, Any]) -> tuple[int, float]:
    return entity["end"] - entity["start"], entity["score"]


def _each(tokens: Sequence[Token], naming: Naming) -> list[Labelled]:
    return [naming.labelled(token.scores, token.text, (token.start, token.end)) for token in tokens]


def _words(tokens: Sequence[Token], strategy: str, naming: Naming) -> list[Labelled]:
    words: list[list[Token]] = []
    for token in tokens:
        if words and token.continues:
            words[-1].append(token)
        else:
            words.append([token])
    scores = WORD_STRATEGIES[strategy]
    return [
        naming.labelled(scores(word), naming.join([token.text for token in word]), (word[0].start, word[-1].end))
        for word in words
    ]


def _grouped(items: Sequence[Labelled]) -> list[list[Labelled]]:
    groups: list[list[Labelled]] = []
    for item in items:
        if groups and item.continues(groups[-1][-1]):
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def _token_entity(token: Token, item: Labelled) -> dict[str, Any]:
    return {
        "entity": item.label,
        "score": float(item.score),
        "index": token.index,
        "word": item.word,
        "start": item.start,
        "end": item.end,
    }


def _group_entity(group: Sequence[Labelled], naming: Naming) -> dict[str, Any]:
    return {
        "entity_group": group[0].label.split("-", 1)[-1],
        "score": float(np.mean([item.score for item in group])),
        "word": naming.join([item.word for item in group]),
        "start": group[0].start,
        "end": group[-1].end,
    }
