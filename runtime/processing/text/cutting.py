"""Long texts before they are tokenized: cut where the rest changes nothing, refused where they are too long.

A text is cut at a space between two letters, and only for tokenizers that split there whatever stands around it: then
the tokens before the space are those of the whole. It knows tokenizers by their parts, and no vocabulary.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import tokenizers

from ...errors import UsageError

LONGEST = 2**24
"""The longest text that is tokenized, in characters: 15 seconds, and 1.3 GB while they pass."""

LONG = 2**17
"""Characters from which on a text is looked at for a place to cut it."""

_FIRST = 2**14  # characters that are tokenized first, at least
_GROWTH = 8
_SPACE = re.compile(r"[a-z](?= [a-zA-Z])")
_ACROSS = re.compile(r"[a-zA-Z][\s▁Ġ]")  # an added token that may begin before such a space and end behind it

# Parts of tokenizers that treat each character, or each word, by itself.
_NORMALIZERS = {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "Strip"}
_NORMALIZERS |= {"StripAccents"}
_SPLITTERS = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}
_OTHERS = {"Digits", "Punctuation", "UnicodeScripts"}
_SPACES = {r"\s{2,}|[\n\r\t]", " {2,}"}

# The alternatives of the expressions that byte-level tokenizers split by; none matches a letter and a space behind it.
_CONTRACTIONS = "'s|'t|'re|'ve|'m|'ll|'d"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ALTERNATIVES = (
    *(rf"[^\r\n\p{{L}}\p{{N}}]?{word}" for word in (r"\p{L}+", r"[\p{L}\p{M}]+")),
    *(rf"[^\r\n\p{{L}}\p{{N}}]?{word}" for word in (f"{_UPPER}*{_LOWER}+", f"{_UPPER}+{_LOWER}*")),
    *(rf"[^\r\n\p{{L}}\p{{N}}]?{word}(?i:{_CONTRACTIONS})?" for word in (f"{_UPPER}*{_LOWER}+", f"{_UPPER}+{_LOWER}*")),
    *(rf" ?[^\s\p{{L}}\p{{N}}]+{lines}" for lines in ("", r"[\r\n]*", r"[\r\n/]*")),
    r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
    *(r" ?\p{L}+", r" ?\p{N}+", r"\p{N}", r"\p{N}{1,3}", r"[\p{L}]+", r"[\p{N}]", r"[^\s\p{L}\p{N}]+"),
    *(f"(?i:{_CONTRACTIONS})", *_CONTRACTIONS.split("|"), r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"),
)
_ONE = "|".join(map(re.escape, sorted(_ALTERNATIVES, key=len, reverse=True)))
_SPLIT = re.compile(rf"(?:{_ONE})(?:\|(?:{_ONE}))*")


def cut_text(text: str, *, tokens: int, count: Callable[[str], int]) -> str:
    """Return the beginning of a text that has more than so many tokens; the text itself where none is found.

    `count` returns how many tokens a text has.
    """
    size = max(_FIRST, 16 * tokens)
    while _GROWTH * size < len(text):
        found = list(_SPACE.finditer(text, size - min(size, _FIRST), size))
        if found and count(start := text[: found[-1].end()]) > tokens:
            return start
        size *= _GROWTH
    return text


def check_length(row: Any) -> None:
    """Raise UsageError for a text that is too long to be tokenized; `row` is one, or a pair, or words."""
    texts = [row] if isinstance(row, str) else row
    size = sum(len(text) for text in texts if isinstance(text, str))
    if size > LONGEST:
        raise UsageError(f"a text of {size} characters is too long (allowed: {LONGEST}); split it")
    for text in texts:
        if not isinstance(text, str):
            check_length(text)


def splits_at_spaces(backend: tokenizers.Tokenizer) -> bool:
    """Tell whether the tokens before a space between two letters depend on nothing behind it."""
    if any(_ACROSS.search(token.content) for token in backend.get_added_tokens_decoder().values()):
        return False
    normalizers, splitters = _parts(backend.normalizer), _parts(backend.pre_tokenizer)
    known = [_splits(part) for part in splitters]
    return all(map(_is_local, normalizers)) and True in known and None not in known


def _parts(component: Any) -> list[Mapping[str, Any]]:
    """Return what a normalizer or a pre-tokenizer is made of."""
    return [] if component is None else list(_flat(json.loads(component.__getstate__())))


def _flat(state: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    inside = state.get("normalizers") or state.get("pretokenizers")
    return [state] if inside is None else [part for item in inside for part in _flat(item)]


def _is_local(part: Mapping[str, Any]) -> bool:
    pattern = part.get("pattern", {})
    text = pattern.get("String", " ")
    return part["type"] in _NORMALIZERS or (
        part["type"] == "Replace" and (pattern.get("Regex") in _SPACES or re.search(r"[\sa-zA-Z]", text) is None)
    )


def _splits(part: Mapping[str, Any]) -> bool | None:
    """Tell whether a part splits at the space; None for one that may make what stands before depend on the rest."""
    kind = part["type"]
    if kind in _SPLITTERS or (kind == "Metaspace" and part.get("split", True)):
        return True
    if kind == "ByteLevel":
        return bool(part.get("use_regex", True))
    if kind == "Split":
        found = _SPLIT.fullmatch(part["pattern"].get("Regex", "")) is not None
        return True if found and not part["invert"] and part["behavior"] in {"Isolated", "Removed"} else None
    return False if kind in _OTHERS else None
