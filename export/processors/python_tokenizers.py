"""Tokenizers that transformers runs in Python and has no converter for, one row each, on the `tokenizers` library.

Their tokens may be spelled otherwise than the source's: numbers and decoded texts are the same.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from ...runtime.errors import UnsupportedError
from .sentencepieces import (
    AFTER,
    END,
    START,
    Pieces,
    Vocabulary,
    decoder_from_pieces,
    model_from_pieces,
    normalizer_from_pieces,
    pre_tokenizer_from_pieces,
)

WORD = "</w>"  # ends a word's last symbol in a vocabulary of merges


@dataclass(frozen=True)
class Conversion:
    """A backend, and the number from which on its tokens count as unknown (None: none do)."""

    backend: Tokenizer
    unknown_from: int | None


def converted(tokenizer: Any) -> Conversion | None:
    """Return the same tokenizer on the `tokenizers` library; None where no row here knows its class.

    UnsupportedError: it is of a kind that its row does not convert.
    """
    rows = [ROWS[base.__name__] for base in type(tokenizer).__mro__ if base.__name__ in ROWS]
    return rows[0](tokenizer) if rows else None


def _marian(tokenizer: Any) -> Conversion:
    if tokenizer.separate_vocabs:
        raise UnsupportedError("MarianTokenizer with a vocabulary for each language (separate_vocabs) is not supported")
    codes = [token for token in tokenizer.encoder if re.fullmatch(r">>(?:(?!<<)[\s\S])*<<", token)]
    return _sentencepieces(tokenizer, tokenizer.spm_source, codes=codes, after_special=" ", keeps_spaces=False)


def _m2m_100(tokenizer: Any) -> Conversion:
    return _sentencepieces(tokenizer, tokenizer.sp_model, others=tokenizer.lang_token_to_id)


def _speech_to_text(tokenizer: Any) -> Conversion:
    return _sentencepieces(tokenizer, tokenizer.sp_model, after_special=" ", uppers=tokenizer.do_upper_case)


def _sentencepieces(
    tokenizer: Any,
    processor: Any,
    *,
    others: Mapping[str, int] | None = None,
    codes: list[str] | None = None,
    after_special: str = "",
    keeps_spaces: bool = True,
    uppers: bool = False,
) -> Conversion:
    """Convert a tokenizer that cuts with `processor` and looks the pieces up in its `encoder`.

    `keeps_spaces`: the space mark of a token that is no piece stays in a decoded text.
    """
    pieces = Pieces.from_model(processor.serialized_model_proto())
    ids = {**tokenizer.encoder, **(others or {}), **tokenizer.added_tokens_encoder}
    vocabulary = Vocabulary.from_ids(ids, unknown=tokenizer.unk_token, plain=tokenizer.added_tokens_encoder)
    model, unknown_from = model_from_pieces(pieces, vocabulary, keeps_spaces=keeps_spaces)
    backend = Tokenizer(model)
    backend.normalizer = normalizer_from_pieces(pieces, codes=codes)
    if (splitter := pre_tokenizer_from_pieces(pieces)) is not None:
        backend.pre_tokenizer = splitter
    backend.decoder = decoder_from_pieces(
        pieces,
        tokenizer.all_special_tokens,
        after_special=after_special,
        uppers=uppers,
    )
    return _finished(backend, tokenizer, unknown_from)


def _blenderbot_small(tokenizer: Any) -> Conversion:
    """Convert merges of lowercase words; the vocabulary marks what a word goes on after, the model what ends one."""
    special = set(tokenizer.added_tokens_encoder)
    ids = {_symbol(token, special): number for token, number in tokenizer.get_vocab().items()}
    merges = [merge for merge in tokenizer.bpe_ranks if len(merge) == 2]
    symbols = dict.fromkeys(part for left, right in merges for part in (left, right, left + right))
    last = max(ids.values()) + 1
    unnamed = [symbol for symbol in symbols if symbol not in ids]
    vocab = ids | {symbol: last + index for index, symbol in enumerate(unnamed)}
    backend = Tokenizer(models.BPE(vocab, merges, unk_token=tokenizer.unk_token, end_of_word_suffix=WORD))
    backend.normalizer = _blenderbot_small_normalizer()
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.decoder = _blenderbot_small_decoder(tokenizer.all_special_tokens)
    return _finished(backend, tokenizer, last if unnamed else None)


def _symbol(token: str, special: set[str]) -> str:
    if token in special:
        return token
    return token.removesuffix("@@") if token.endswith("@@") else token + WORD


def _blenderbot_small_normalizer() -> normalizers.Normalizer:
    """A line break counts right after a word only; punctuation begins a word, an apostrophe is one."""
    marks = [normalizers.Replace(mark, f" {mark}") for mark in ".,!?()"]
    return normalizers.Sequence(
        [
            # The one letter whose lowercase depends on what follows.
            normalizers.Replace(Regex(r"(?<=[\p{Lu}\p{Ll}\p{Lt}])Σ(?![\p{Lu}\p{Ll}\p{Lt}])"), "ς"),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"(?<=[^\s'])\n"), " __newln__ "),
            *marks,
            normalizers.Replace("'", " ' "),
        ]
    )


def _blenderbot_small_decoder(special: list[str]) -> decoders.Decoder:
    """Join tokens by spaces, and what goes on after `@@` without one; a last `@@` stays."""
    ends = "|".join(f"^{re.escape(token)}" for token in special)
    steps = [
        (f"{WORD}{END}", f" {AFTER}"),
        (f"(?<={ends}){END}", f" {AFTER}"),
        (f"(?<!{AFTER}){END}", f"@@{AFTER}"),
        None,
        (f"@@{AFTER}(?=[\\s\\S])", ""),
        (AFTER, ""),
        (rf"{START}[\s\x1C-\x1F]+|[\s\x1C-\x1F]+{END}", ""),
    ]
    made = [decoders.Fuse() if step is None else decoders.Replace(Regex(step[0]), step[1]) for step in steps]
    return decoders.Sequence(made)


def _finished(backend: Tokenizer, tokenizer: Any, unknown_from: int | None) -> Conversion:
    """Add what every row has: tokens found before the cut, and those put around a text."""
    backend.add_tokens(
        [
            AddedToken(
                token.content,
                single_word=token.single_word,
                lstrip=token.lstrip,
                rstrip=token.rstrip,
                normalized=False,  # they are looked for in the text as it came
                special=token.content in tokenizer.all_special_tokens,
            )
            for _, token in sorted(tokenizer.added_tokens_decoder.items())
        ]
    )
    backend.post_processor = _template(tokenizer)
    return Conversion(backend, unknown_from)


def _template(tokenizer: Any) -> processors.TemplateProcessing:
    """Read off the source what stands around one text and around two."""
    texts = {-1: "$A", -2: "$B"}
    single = tokenizer.build_inputs_with_special_tokens([-1])
    pair = tokenizer.build_inputs_with_special_tokens([-1], [-2])
    around = {f"token-{number}": number for number in (*single, *pair) if number not in texts}
    return processors.TemplateProcessing(
        single=[texts.get(number, f"token-{number}") for number in single],
        pair=[texts.get(number, f"token-{number}") for number in pair],
        special_tokens=[
            {"id": name, "ids": [number], "tokens": [tokenizer.convert_ids_to_tokens(number)]}
            for name, number in around.items()
        ],
    )


ROWS: Mapping[str, Callable[[Any], Conversion]] = {
    "MarianTokenizer": _marian,
    "M2M100Tokenizer": _m2m_100,
    "Speech2TextTokenizer": _speech_to_text,
    "BlenderbotSmallTokenizer": _blenderbot_small,
}
