"""Constrained output: a JSON schema, a regular expression or a grammar says which token may come next.

What they mean is llguidance's; here are its masks as a logits processor.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DependencyMissing, UnsupportedError, UsageError, install_hint
from ..base import Processor

if TYPE_CHECKING:
    import llguidance
    import tokenizers

# The arguments that say what may be written.
NAMES = ("json_schema", "regex", "grammar")
_LONGEST_REASON = 300
# Between the parts of JSON: enough for lines and their indentation, but a model must not write white space for ever.
_SPACE = r"[\x20\x0A\x0D\x09]{1,16}"


def constraint(
    given: Mapping[str, Any], *, tokenizer: "tokenizers.Tokenizer", vocabulary: int, ends: Sequence[int]
) -> Processor:
    """Return a processor that allows what one of `given` does: a grammar's matcher for every row, from its first token.

    Parameters
    ----------
    given
        One of `json_schema` (a dict, or JSON), `regex` and `grammar` (Lark with llguidance's additions, or its JSON).
    tokenizer
        Whose tokens the rows have.
    vocabulary
        How many logits a token has; those beyond the tokenizer's are never allowed.
    ends
        The tokens that end a row: they are allowed where the text may end.

    Raises
    ------
    UsageError
        Not exactly one of them, or one that is malformed, uses what llguidance has not, or matches nothing. Later: no
        token is left, because other rules forbid what it allows.
    DependencyMissing
        llguidance is not installed.

    """
    if len(given) != 1:
        raise UsageError(f"{' and '.join(given)} exclude each other: pass one of {', '.join(NAMES)}")
    ((name, value),) = given.items()
    if not ends:
        raise UsageError(f"{name} needs a token that ends the text, and the checkpoint names none: pass eos_token_id=")
    ll = _library()
    start = ll.LLMatcher(_read_tokenizer(tokenizer, vocabulary, tuple(ends)), _compiled(name, value), log_level=0)
    # A grammar may be well-formed and have no text; that is found when its first token is asked for.
    if not start.is_error():
        start.compute_bitmask()
    if start.is_error():
        raise UsageError(f"{name} cannot be followed: {_reason(start)}. Correct it, or leave {name} out")
    return _Constraint(start.deep_copy, name, ends)


class _Constraint:
    """A matcher a row; rows keep their numbers, and those that are finished go on with tokens that are no text."""

    def __init__(self, opened: "Callable[[], llguidance.LLMatcher]", name: str, ends: Sequence[int]) -> None:
        self._opened, self._name, self._ends = opened, name, ends
        self._rows: list[_Row] = []
        self._length = 0

    def __call__(self, ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        if not self._rows:
            self._rows, self._length = [_Row(self._opened(), self._name, self._ends) for _ in scores], ids.shape[1]
        for place, row in enumerate(self._rows):
            for token in ids[place, self._length :].tolist():
                row.take(token)
            if not row.has_ended:
                scores[place] = row.masked(scores[place])
        self._length = ids.shape[1]
        return scores


class _Row:
    """Where one row is in the grammar."""

    def __init__(self, matcher: "llguidance.LLMatcher", name: str, ends: Sequence[int]) -> None:
        self._matcher, self._name, self._ends = matcher, name, ends
        self._allowed = np.zeros(0, bool)
        self.has_ended = False

    def take(self, token: int) -> None:
        """Go on behind a token; one that was not allowed is another rule's, or pads a finished row: no text."""
        if not self.has_ended and self._allowed[token]:
            self.has_ended = token in self._ends
            self._matcher.consume_token(token)
            self._check()

    def masked(self, scores: np.ndarray) -> np.ndarray:
        """Return the row's scores, -inf where a token must not come."""
        mask = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._check()
        self._allowed = np.unpackbits(mask, count=len(scores), bitorder="little").view(bool)
        found = np.where(self._allowed, scores, np.float32(-np.inf))
        if found.max() > -np.inf:
            return found
        if np.isfinite(scores).sum() == 1:  # forced_bos_token_id and forced_eos_token_id come first
            return scores
        raise UsageError(f"{self._name} and the other rules together allow no token: relax one of them")

    def _check(self) -> None:
        if self._matcher.is_error():
            raise UsageError(f"{self._name} cannot be followed any further: {_reason(self._matcher)}. Simplify it")


def _compiled(name: str, value: Any) -> str:
    """Return what llguidance makes matchers of; it looks for most errors only then."""
    given = _schema(value) if name == "json_schema" else value
    if name != "json_schema" and not isinstance(given, str):
        raise UsageError(f"{name} must be a text, got {type(given).__name__}")
    matcher = _library().LLMatcher
    try:
        if name == "json_schema":
            options = {"whitespace_pattern": _SPACE} if isinstance(given, dict) else None
            return matcher.grammar_from_json_schema(json.dumps(given), options)
        if name == "regex":
            return matcher.grammar_from_regex(given)
        return given if given.lstrip().startswith("{") else matcher.grammar_from_lark(given)
    except ValueError as error:  # surrogates, or options of its own that a schema has
        raise UsageError(f"{name} cannot be followed: {_one_line(str(error))}. Correct it") from error


def _schema(value: Any) -> Any:
    """Return a JSON schema as plain values."""
    try:
        schema = json.loads(value if isinstance(value, str) else json.dumps(value))
    except RecursionError as error:
        raise UsageError("json_schema is nested too deep. Simplify it") from error
    except (TypeError, ValueError) as error:
        raise UsageError(f"json_schema is not JSON: {error}. Pass a dict, or a text of JSON") from error
    if not isinstance(schema, (dict, bool)):
        raise UsageError(f"json_schema must be an object, got {type(schema).__name__}")
    return schema


def _reason(matcher: "llguidance.LLMatcher") -> str:
    """Return why a matcher gave up, in one line."""
    reason = _one_line(matcher.get_error().partition("<state>")[0])
    return "it matches nothing" if reason.startswith("NoExtension") else reason


def _one_line(said: str) -> str:
    """Return the beginning of what llguidance says, which repeats the whole of what it was given."""
    return " ".join(said[: 10 * _LONGEST_REASON].split())[:_LONGEST_REASON]


@lru_cache(maxsize=2)
def _read_tokenizer(
    tokenizer: "tokenizers.Tokenizer", vocabulary: int, ends: tuple[int, ...]
) -> "llguidance.LLTokenizer":
    """Return a tokenizer for matchers, which takes up to a second to make."""
    size = max(vocabulary, tokenizer.get_vocab_size(with_added_tokens=True))
    if outside := [end for end in ends if not 0 <= end < size]:
        raise UsageError(f"eos_token_id {outside[0]} is not a token: the vocabulary has {size}")
    try:
        return _library().LLTokenizer(tokenizer.to_str(), n_vocab=size, eos_token=list(ends))
    except ValueError as error:
        raise UnsupportedError(f"llguidance cannot read this tokenizer: {error}") from error


def _library() -> Any:
    try:
        import llguidance
    except ImportError as error:
        raise DependencyMissing(
            f"{', '.join(NAMES)} need llguidance, which is not installed: {install_hint('grammar')}"
        ) from error
    return llguidance
