"""What a checkpoint of sentence-transformers says of its texts: prompts, the longest text, similarity, activation.

It reads the files that sentence-transformers itself keeps; it knows no task and no graph.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import UsageError
from ..vectors import SIMILARITIES

FILE, TRANSFORMER_FILE = "config_sentence_transformers.json", "sentence_bert_config.json"


@dataclass(frozen=True)
class SentenceSettings:
    """The settings: `longest` by task ("query", "document", None for both), `prompts` by name."""

    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    similarity: str = "cosine"
    truncate_dim: int | None = None
    activation: str | None = None
    longest: Mapping[str | None, int] = field(default_factory=dict)

    @classmethod
    def from_files(cls, read: Callable[[str], Mapping[str, Any]], prompts: Mapping[str, str]) -> "SentenceSettings":
        """Return the settings in a bundle's files, which `read` gives by name; its `prompts` stand over these."""
        given, texts = read(FILE), read(TRANSFORMER_FILE)
        tokenizer = texts.get("processor_kwargs") or texts.get("tokenizer_args") or {}
        lengths = {
            None: tokenizer.get("model_max_length") or texts.get("max_seq_length"),
            "query": texts.get("query_length"),
            "document": texts.get("document_length"),
        }
        named = given.get("similarity_fn_name")
        return cls(
            {**prompts, **{name: text or "" for name, text in (given.get("prompts") or {}).items()}},
            given.get("default_prompt_name"),
            str(named) if named in SIMILARITIES else "cosine",
            given.get("truncate_dim"),
            given.get("activation_fn"),
            {task: int(length) for task, length in lengths.items() if length is not None},
        )

    def prompt(self, text: str | None, name: str | None) -> str:
        """Return the prompt that a call asks for, by its text or its name, or else the default; "" for none.

        Raises UsageError for an unknown name, and where both are given.
        """
        if text is not None and name is not None:
            raise UsageError("prompt and prompt_name were given: keep one")
        if text is not None:
            return text
        wanted = self.default_prompt_name if name is None else name
        if wanted is None:
            return ""
        if wanted not in self.prompts:
            known = ", ".join(map(repr, self.prompts)) or "none"
            raise UsageError(f"no prompt is named '{wanted}' (prompts: {known})")
        return self.prompts[wanted]
