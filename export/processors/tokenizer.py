"""A checkpoint's tokenizer becomes `tokenizer.json` in the bundle, verified equal to its source on a corpus."""

import json
import re
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...runtime.errors import DependencyMissing, IntegrityError, UnsupportedError, UsageError
from ...runtime.json_files import brief
from ...runtime.processing.text.special_tokens import HALVES, OWN, WRITTEN_OUT
from ...runtime.processing.text.tokenizer import Tokenizer
from ..reasons import reason_of
from .corpus import ids_of, pairs_of, texts_with
from .languages import languages_of
from .preprocessor import runtime_copy
from .python_tokenizers import converted as converted_here

_TIME = re.compile(r"<\|\d+\.\d+\|>")
FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
# What transformers may read a vocabulary from; a folder with none of these has no tokenizer.
VOCABULARIES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.*",
    "*vocab*.json",
    "merges.txt",
    "*.model",
    "*.spm",
    "*.tokenizer",
    "*.tiktoken",
    "tekken.json",
    "byte_maps.json",
    "bpe.codes",
    "dict.txt",
)
# Of this machine, of this run, or of the Python class that the bundle does without.
PRIVATE = (
    "name_or_path",
    "is_local",
    "local_files_only",
    "files_loaded",
    "token",
    "cache_dir",
    "_commit_hash",
    "auto_map",
)
PRIVATE += ("max_length", "stride", "truncation_strategy", "pad_to_multiple_of")  # of the last call
PORTABLE_CLASS = "PreTrainedTokenizerFast"  # the one name that transformers 4, 5 and transformers.js all know
ALL_FIELDS = {"return_token_type_ids": True, "return_attention_mask": True}


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Any | None:
    """The tokenizer that transformers' AutoTokenizer makes of a checkpoint folder; None where the folder has none.

    IntegrityError: a file that is truncated or malformed. UsageError: it needs remote code that is not trusted.
    DependencyMissing: transformers lacks a package for it. UnsupportedError: transformers cannot load it.
    """
    if not any(found for pattern in VOCABULARIES for found in folder.glob(pattern)):
        return None
    for name in FILES:
        _check_json(folder / name)
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    except ImportError as error:
        raise DependencyMissing(f"the tokenizer in '{folder}' needs a package: {reason_of(error)}") from error
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise UsageError(
                f"the tokenizer in '{folder}' is Python code of the checkpoint's own: "
                "read it, and if you trust it pass --trust-remote-code"
            ) from error
        _check_backend(folder / "tokenizer.json")
        raise UnsupportedError(f"transformers cannot load the tokenizer in '{folder}': {reason_of(error)}") from error


def write_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write a transformers tokenizer into a bundle's folder, so that the runtime's `Tokenizer` is the same one.

    `tokenizer.json` comes from the tokenizer that transformers holds, which may differ from the checkpoint's file.
    The bytes depend on the tokenizer alone. A refused one leaves neither of these files.

    UnsupportedError: it runs in Python and cannot be converted, or the written one differs on a text of the corpus.
    """
    converted, own = _converted(tokenizer)
    _write_files(converted, tokenizer, folder, own)
    try:
        written = runtime_copy(Tokenizer.from_folder, folder, what=f"tokenizer {type(tokenizer).__name__}")
    except UnsupportedError:
        _unlink(folder)
        raise
    written.model_max_length = None  # the corpus has long texts, of which nobody need be warned
    difference = first_difference(tokenizer, written)
    if difference is not None:
        _unlink(folder)
        raise UnsupportedError(f"tokenizer {type(tokenizer).__name__} does not become a tokenizer.json: {difference}")


def _unlink(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def _converted(tokenizer: Any) -> tuple[Any, dict[str, Any]]:
    """Return the tokenizer on the `tokenizers` library, and what of it only vitrify reads."""
    own: dict[str, Any] = {} if (languages := languages_of(tokenizer)) is None else {"languages": languages}
    if has_backend(tokenizer):
        return tokenizer, own
    made = converted_here(tokenizer)
    if made is None:
        return convert_tokenizer(tokenizer), own
    if made.unknown_from is not None:
        own["unknown_from"] = made.unknown_from
    return _with_backend(made.backend, tokenizer), own


def has_backend(tokenizer: Any) -> bool:
    """Whether it runs on the `tokenizers` library rather than in Python or sentencepiece."""
    import tokenizers

    return isinstance(getattr(tokenizer, "backend_tokenizer", None), tokenizers.Tokenizer)


def convert_tokenizer(tokenizer: Any) -> Any:
    """The same tokenizer on the `tokenizers` library, made by transformers' converter for its class or a base of it.

    UnsupportedError: there is no converter, or it fails.
    """
    slow = import_module("transformers.convert_slow_tokenizer")
    rows = {**slow.SLOW_TO_FAST_CONVERTERS, "BertTokenizerLegacy": slow.BertConverter}
    converters = [rows[base.__name__] for base in type(tokenizer).__mro__ if base.__name__ in rows]
    refusal = f"tokenizer {type(tokenizer).__name__} runs in Python and does not become a tokenizer.json"
    if not converters:
        raise UnsupportedError(f"{refusal}: transformers has no converter for it")
    try:
        backend = converters[0](tokenizer).converted()
    except Exception as error:
        raise UnsupportedError(f"{refusal}: {converters[0].__name__} fails: {reason_of(error)}") from error
    return _with_backend(backend, tokenizer)


def _with_backend(backend: Any, tokenizer: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        added_tokens_decoder=tokenizer.added_tokens_decoder,
        extra_special_tokens=tokenizer.extra_special_tokens,
        **tokenizer.special_tokens_map,
    )


def _write_files(converted: Any, source: Any, folder: Path, own: dict[str, Any]) -> None:
    backend = json.loads(converted.backend_tokenizer.to_str())
    backend |= {"truncation": None, "padding": None}  # the state of the last call, not a property of the tokenizer
    _write_json(folder / "tokenizer.json", backend, indent=None)
    with TemporaryDirectory() as temporary:
        saved = Path(temporary)
        source.save_pretrained(saved)
        config = json.loads((saved / "tokenizer_config.json").read_text(encoding="utf-8"))
        for template in (*saved.glob("chat_template.jinja"), *saved.glob("additional_chat_templates/*.jinja")):
            target = folder / template.relative_to(saved)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(template, target)
    public = _public(config, source, is_converted=converted is not source) | ({OWN: own} if own else {})
    _write_json(folder / "tokenizer_config.json", public, indent=2)


def _public(config: dict[str, Any], source: Any, *, is_converted: bool) -> dict[str, Any]:
    kept = {name: value for name, value in config.items() if name not in PRIVATE and not name.endswith("_file")}
    kept |= {name: getattr(source, name) for name in WRITTEN_OUT}
    is_known = type(source).__module__.startswith("transformers.models.")
    if is_converted or not is_known:
        kept |= {"tokenizer_class": PORTABLE_CLASS, "backend": "tokenizers"}
    return kept


def first_difference(source: Any, written: Tokenizer) -> str | None:
    """What the two do differently with a text of the corpus, a pair of them or ids of no text; None: nothing."""
    texts = texts_with(source.all_special_tokens)
    for item in (*texts, *pairs_of(texts)):
        # A batch of one: an empty pair of a lone text means no pair to some tokenizers and an empty one to others.
        batch = [[text] for text in item] if isinstance(item, tuple) else [[item]]
        try:
            expected = source(*batch, **ALL_FIELDS, verbose=False)
        except Exception as error:  # noqa: BLE001 - a tokenizer that takes no plain text is refused with its own words
            return f"it does not accept the text {_shown(item)}: {reason_of(error)}"
        found = written(*batch, **ALL_FIELDS)
        for name, ids in found.items():
            # Types of tokens that no model reads; tokenizers in Python count the second text's from one too late.
            if name == "token_type_ids" and not has_backend(source) and name not in source.model_input_names:
                continue
            if list(expected[name][0]) != ids[0].tolist():
                return f"{name} differ on the text {_shown(item)}"
        if difference := _decoding_differs(source, written, expected["input_ids"][0]):
            return f"{difference} on the text {_shown(item)}"
    return next(filter(None, (_decoding_differs(source, written, ids) for ids in _drawn_ids(source))), None)


def _drawn_ids(source: Any) -> Iterator[list[int]]:
    """Yield rows of ids; marks of time are left out, which Whisper's class drops and our transcripts read."""
    times = {number for token, number in source.get_vocab().items() if _TIME.fullmatch(token)}
    for ids in ids_of(len(source)):
        yield [each for each in ids if each not in times]


def _decoding_differs(source: Any, written: Tokenizer, ids: list[int]) -> str | None:
    for skip in (False, True):
        expected, found = (each.decode(ids, skip_special_tokens=skip) for each in (source, written))
        if expected != found:
            return f"decoding of {_shown(ids)} differs (skip_special_tokens={skip})"
    return None


def _check_json(path: Path) -> None:
    try:
        json.loads(path.read_bytes(), object_pairs_hook=_of_whole_characters)
    except FileNotFoundError:
        return
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"'{path}' is truncated or malformed: {error}; download the checkpoint again") from error


def _of_whole_characters(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; raise ValueError for half of a character, which no file can be written with."""
    for name, value in pairs:
        for text in (name, *(value if isinstance(value, list) else [value])):
            if isinstance(text, str) and HALVES.search(text):
                raise ValueError(f"{name} is {brief(value)}, which contains half of a character")
    return dict(pairs)


def _check_backend(path: Path) -> None:
    import tokenizers

    try:
        tokenizers.Tokenizer.from_buffer(path.read_bytes())
    except FileNotFoundError:
        return
    except Exception as error:
        raise IntegrityError(f"'{path}' is malformed: {reason_of(error)}; download the checkpoint again") from error


def _write_json(path: Path, value: dict[str, Any], *, indent: int | None) -> None:
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(value, indent=indent, separators=separators, ensure_ascii=False, sort_keys=indent is not None)
    path.write_bytes(text.encode() + b"\n")


def _shown(item: object) -> str:
    shown = ascii(item)
    return shown if len(shown) <= 80 else f"{shown[:80]}…"
