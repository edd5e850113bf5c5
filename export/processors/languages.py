"""What a multilingual tokenizer puts around a text of each language, read off what it does for a translation."""

from typing import Any

from ...runtime.errors import UnsupportedError
from ...runtime.processing.text.languages import LANGUAGE


def languages_of(tokenizer: Any) -> dict[str, Any] | None:
    """Return what the runtime's `Languages` reads; None where a translation needs no language (Marian, T5, BART).

    UnsupportedError: two languages are marked in different ways.
    """
    build = getattr(tokenizer, "_build_translation_inputs", None)
    if build is None:
        return None
    kept = tokenizer.src_lang
    codes, forms = {}, set()
    try:
        for language in _languages(tokenizer):
            made = build("", return_tensors=None, src_lang=language, tgt_lang=language)
            codes[language] = made["forced_bos_token_id"]
            forms.add(tuple(LANGUAGE if number == codes[language] else number for number in made["input_ids"]))
    finally:
        tokenizer.src_lang = kept
    if not codes:
        return None
    if len(forms) != 1:
        raise UnsupportedError(
            f"tokenizer {type(tokenizer).__name__} marks its languages in {len(forms)} forms, not one"
        )
    return {"codes": codes, **_sides(tokenizer, next(iter(codes)), codes)}


def _sides(tokenizer: Any, language: str, codes: dict[str, int]) -> dict[str, list[int | str]]:
    """Return what stands before and behind a text."""
    kept = tokenizer.src_lang
    try:
        tokenizer.src_lang = language
        return {
            name: [LANGUAGE if number == codes[language] else number for number in numbers]
            for name, numbers in (("prefix", tokenizer.prefix_tokens), ("suffix", tokenizer.suffix_tokens))
        }
    finally:
        tokenizer.src_lang = kept


def _languages(tokenizer: Any) -> list[str]:
    for name in ("lang_code_to_id", "lang_code_to_token"):
        if codes := getattr(tokenizer, name, None):
            return list(codes)
    named = {str(token) for token in tokenizer.special_tokens_map.values() if isinstance(token, str)}
    return [token for token in tokenizer.extra_special_tokens if token not in named]
