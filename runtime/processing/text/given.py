"""A tokenizer that the caller gives in place of the bundle's: a folder, an object like it, or one of transformers."""

from pathlib import Path
from typing import Any

import tokenizers

from ...errors import UsageError
from .special_tokens import NAMED, TokenizerConfig, longest_text
from .tokenizer import Tokenizer


def given_tokenizer(source: Any, own: Tokenizer | None) -> Any:
    """Return the tokenizer that `source` stands for; `own` is the bundle's, which knows more of the model than tokens.

    An object of transformers is copied: later changes of it change nothing here. Raises UsageError for one that is not
    backed by the library `tokenizers`.
    """
    if isinstance(source, (str, Path)):
        return Tokenizer.from_folder(Path(source))
    backend = getattr(source, "backend_tokenizer", None)
    if isinstance(backend, tokenizers.Tokenizer):
        return _copied(source, backend, own)
    if isinstance(source, tokenizers.Tokenizer) or hasattr(source, "vocab_files_names"):
        raise UsageError(
            f"tokenizer= got a {type(source).__name__}, which vitrify cannot run: pass the folder of a tokenizer.json, "
            "a fast tokenizer of transformers, or nothing for the bundle's own"
        )
    return source


def _copied(source: Any, backend: tokenizers.Tokenizer, own: Tokenizer | None) -> Tokenizer:
    made = Tokenizer(tokenizers.Tokenizer.from_str(backend.to_str()), config=_config_of(source))
    if template := getattr(source, "chat_template", None):
        made.chat_template = template
    made.languages = None if own is None else own.languages
    return made


def _config_of(source: Any) -> TokenizerConfig:
    found = {name: getattr(source, name, None) for name in NAMED}
    return TokenizerConfig(
        special_tokens={name: str(token) for name, token in found.items() if token is not None},
        extra_special_tokens=tuple(map(str, getattr(source, "extra_special_tokens", None) or ())),
        model_max_length=longest_text(getattr(source, "model_max_length", None)),
        padding_side=getattr(source, "padding_side", "right"),
        truncation_side=getattr(source, "truncation_side", "right"),
        model_input_names=tuple(getattr(source, "model_input_names", None) or TokenizerConfig.model_input_names),
        pad_token_type_id=int(getattr(source, "pad_token_type_id", 0) or 0),
        split_special_tokens=bool(getattr(source, "split_special_tokens", False)),
        clean_up_tokenization_spaces=bool(getattr(source, "clean_up_tokenization_spaces", False)),
    )
