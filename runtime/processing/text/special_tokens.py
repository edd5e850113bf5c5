"""What `tokenizer_config.json` says of a tokenizer beside its vocabulary: special tokens, sides, lengths."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any, Protocol, TypedDict

import tokenizers

from ...errors import IntegrityError, UsageError
from ...json_files import Mismatch, brief, read_fields, read_object
from ..class_defaults import UNBOUNDED, model_config, tokenizer_class, tokenizer_defaults

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
SIDES = ("left", "right")
OWN = "vitrify"  # the key of what only vitrify reads
# What the export always writes out, though a class may imply it; a file without one of these is of another tool.
WRITTEN_OUT = (
    "model_input_names",
    "padding_side",
    "truncation_side",
    "pad_token_type_id",
    "clean_up_tokenization_spaces",
    "split_special_tokens",
)
HALVES = re.compile("[\ud800-\udfff]")  # of characters, which UTF-8 has none of


class LanguageFields(TypedDict):
    """The languages by code, and what stands around a text: ids, and "language" for its own."""

    codes: Mapping[str, int]
    prefix: Sequence[int | str]
    suffix: Sequence[int | str]


class OwnFields(TypedDict, total=False):
    """What the export writes for vitrify alone."""

    unknown_from: int
    languages: LanguageFields


class TokenizerFields(TypedDict, total=False):
    """What is read of a file; tokens are looked at one by one, and a longest text is often 1e30."""

    extra_special_tokens: Sequence[Any] | Mapping[str, Any]
    additional_special_tokens: Sequence[Any] | Mapping[str, Any]
    padding_side: str
    truncation_side: str
    model_input_names: tuple[str, ...]
    pad_token_type_id: int
    split_special_tokens: bool
    clean_up_tokenization_spaces: bool
    clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output: bool
    vitrify: OwnFields


# Those that are called alike there and here.
_SETTINGS = (
    "padding_side",
    "truncation_side",
    "model_input_names",
    "pad_token_type_id",
    "split_special_tokens",
    "clean_up_tokenization_spaces",
)


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """The part of `tokenizer_config.json` that changes what a tokenizer returns; names and defaults of transformers.

    Ours are `unknown_from`, the number from which on tokens are pieces that the checkpoint has no number for,
    `languages`, what `Languages` reads, and `says_inputs`, false where `model_input_names` is nobody's word.
    """

    special_tokens: Mapping[str, str] = field(default_factory=dict)
    extra_special_tokens: tuple[str, ...] = ()
    model_max_length: int | None = None
    padding_side: str = "right"
    truncation_side: str = "right"
    model_input_names: tuple[str, ...] = ("input_ids", "attention_mask")
    says_inputs: bool = True
    pad_token_type_id: int = 0
    split_special_tokens: bool = False
    clean_up_tokenization_spaces: bool = False
    clean_up_bpe: bool = False
    unknown_from: int | None = None
    languages: Mapping[str, Any] | None = None
    response_template: Any = None

    def __post_init__(self) -> None:
        for name in ("padding_side", "truncation_side"):
            if getattr(self, name) not in SIDES:
                raise IntegrityError(
                    f"tokenizer_config.json: {name} is {brief(getattr(self, name))}, not 'left' or 'right'"
                )


def read_tokenizer_config(folder: Path, backend: tokenizers.Tokenizer) -> TokenizerConfig:
    """The folder's `tokenizer_config.json` and, over it, `special_tokens_map.json`; either may be missing.

    What they leave out is as the class of transformers has it that the folder's files name.
    IntegrityError: a file that is not a JSON object, or a value of the wrong kind.
    """
    values = _read(folder / "tokenizer_config.json") | _read(folder / "special_tokens_map.json")
    says_inputs = True
    if not values.keys() >= set(WRITTEN_OUT):
        implied = _implied(values, folder, backend)
        says_inputs = bool(values.get("model_input_names") or implied.get("model_input_names"))
        values = implied | values
    extra = values.get("extra_special_tokens") or values.get("additional_special_tokens") or []
    named = {name: content(value) for name, value in values.items() if name.endswith("_token")}
    if isinstance(extra, dict):
        named |= {name: content(value) for name, value in extra.items()}
    longest = values.get("model_max_length", values.get("max_len"))
    settings = {name: value for name, value in values.items() if name in _SETTINGS and value != ()}
    return TokenizerConfig(
        special_tokens={name: token for name, token in named.items() if token is not None},
        extra_special_tokens=() if isinstance(extra, dict) else tuple(filter(None, map(content, extra))),
        model_max_length=longest_text(longest),
        clean_up_bpe=values.get("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", False),
        says_inputs=says_inputs,
        response_template=values.get("response_template"),
        **settings,
        **_own(values),
    )


def _implied(values: Mapping[str, Any], folder: Path, backend: tokenizers.Tokenizer) -> dict[str, Any]:
    """Return what the tokenizer's class and tokenizer.json say beside the files; special tokens that it has.

    `model_input_names` is absent where the class is not one of transformers.
    """
    parts = (backend.pre_tokenizer, backend.decoder, backend.post_processor)
    is_byte_level = any(b'"ByteLevel"' in part.__getstate__() for part in parts if part is not None)
    defaults = tokenizer_defaults(tokenizer_class(values, model_config(folder), is_byte_level=is_byte_level))
    found: dict[str, Any] = {} if defaults is None else {"model_input_names": TokenizerConfig.model_input_names}
    found |= {name: value for name, value in (defaults or {}).items() if name not in NAMED or _knows(backend, value)}
    if (padding := backend.padding) is not None:
        found |= {"padding_side": padding["direction"], "pad_token_type_id": padding["pad_type_id"]}
        found.setdefault("pad_token", padding["pad_token"])
    if backend.truncation is not None:
        found["truncation_side"] = backend.truncation["direction"]
    return found


def _knows(backend: tokenizers.Tokenizer, token: str) -> bool:
    return backend.token_to_id(token) is not None


def _own(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the export wrote for vitrify alone."""
    found = values.get(OWN, {})
    return {name: found[name] for name in ("unknown_from", "languages") if name in found}


def longest_text(value: float | None) -> int | None:
    """Return how many tokens a `model_max_length` allows; None for those that mean no limit."""
    return int(value) if value and 0 < value <= UNBOUNDED else None


def content(token: Any) -> str | None:
    """A token's text, which a file gives as it is or as an object with its flags; None for what is no token."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) and not HALVES.search(text) else None


def _read(path: Path) -> dict[str, Any]:
    """Return a file's fields; none where there is no file."""
    try:
        found = read_object(path)
    except FileNotFoundError:
        return {}
    values = read_fields(TokenizerFields, found, path)
    for name in ("model_max_length", "max_len"):
        if name in values and (type(values[name]) not in {int, float} or isnan(values[name])):
            raise _broken(path, name, values[name], "a number")
    for name in NAMED:
        if name in values and content(values[name]) is None:
            raise _broken(path, name, values[name], "a token")
    return values | {name: None for name in NAMED if name in found and found[name] is None}  # which a class may have


def _broken(path: Path, name: str, value: Any, expected: str) -> IntegrityError:
    error = IntegrityError(f"'{path}' is broken: {name} is {brief(value)}, expected {expected}")
    error.__cause__ = Mismatch(f"{name} is {brief(value)}, expected {expected}")
    return error


class HasTokens(Protocol):
    """What the descriptors below stand on."""

    special_tokens: dict[str, str]

    def convert_ids_to_tokens(self, ids: int) -> Any: ...

    def convert_tokens_to_ids(self, tokens: str) -> Any: ...


class SpecialToken:
    """A tokenizer's attribute such as `pad_token`: the token, or None where it has none; may be set."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, tokenizer: HasTokens, owner: type) -> str | None:
        return tokenizer.special_tokens.get(self.name)

    def __set__(self, tokenizer: HasTokens, token: str | None) -> None:
        if token is None:
            tokenizer.special_tokens.pop(self.name, None)
        elif isinstance(token, str):
            tokenizer.special_tokens[self.name] = token
        else:
            raise UsageError(f"{self.name} is a str or None, got {token!r}; by number it is {self.name}_id")


class SpecialTokenId:
    """A tokenizer's attribute such as `pad_token_id`: the token's number, or None where it has none; may be set."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.token_name = name.removesuffix("_id")

    def __get__(self, tokenizer: HasTokens, owner: type) -> int | None:
        token = tokenizer.special_tokens.get(self.token_name)
        return None if token is None else tokenizer.convert_tokens_to_ids(token)

    def __set__(self, tokenizer: HasTokens, number: int | None) -> None:
        token = None if number is None else tokenizer.convert_ids_to_tokens(number)
        if number is not None and token is None:
            raise UsageError(f"{self.token_name}_id={number} is not in the vocabulary")
        setattr(tokenizer, self.token_name, token)
