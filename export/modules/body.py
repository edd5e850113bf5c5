"""What sentence-transformers keeps of a transformer beside its own files: how texts reach it, and what it gives."""

from collections.abc import Mapping
from typing import Any

from ...runtime.bundle.modules_json import Read
from ...runtime.errors import UnsupportedError

FILE = "sentence_bert_config.json"
_FORMER = ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
_NAMES = (FILE, *(f"sentence_{name}_config.json" for name in _FORMER))
# What a transformer may be asked for: the states of its tokens, or the scores of a cross-encoder.
_TASKS = ("feature-extraction", "sequence-classification")
_GIVES = (["last_hidden_state"], "last_hidden_state", ["logits"], "logits")
# Arguments of `from_pretrained` that change nothing of what a model in float32 computes.
_HARMLESS = frozenset(
    {
        *("torch_dtype", "dtype", "attn_implementation", "device_map", "low_cpu_mem_usage", "use_safetensors"),
        *("trust_remote_code", "revision", "code_revision", "cache_dir", "token", "local_files_only"),
        *("add_pooling_layer", "unpad_inputs", "use_memory_efficient_attention", "use_cache"),
    }
)
TOKENIZER = ("model_max_length", "padding_side", "truncation_side")
"""Settings of a tokenizer that may stand there."""

_READ = frozenset({"max_seq_length", "do_lower_case", "query_length", "document_length", "unpad_inputs"})
_TABLES = ("model_args", "model_kwargs", "config_args", "config_kwargs")
_CHECKED = frozenset(
    {"transformer_task", "modality_config", "module_output_name", "processing_kwargs", *_TABLES}
    | {"tokenizer_args", "processor_kwargs", "query_expansion", "tokenizer_name_or_path"}
)


def read_body(read: Read, folder: str, where: str) -> dict[str, Any]:
    """Return the settings of the transformer in a folder; empty where there are none.

    Raises UnsupportedError for what would change its texts or its states in a way that a bundle does not have.
    """
    names = (f"{folder}/{name}" if folder else name for name in _NAMES)
    settings = next((found for name in names if isinstance(found := read(name), dict)), {})
    if other := _other(settings):
        raise UnsupportedError(f"{FILE} of '{where}' asks for {other}, which is not supported")
    return settings


def tokenizer_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is set on the tokenizer over its own settings."""
    return dict(settings.get("processor_kwargs") or settings.get("tokenizer_args") or {})


def _other(settings: Mapping[str, Any]) -> str | None:
    """Return in words the first setting that is not supported."""
    if settings.get("transformer_task", _TASKS[0]) not in _TASKS:
        return f"the task '{settings['transformer_task']}'"
    for kind, given in (settings.get("modality_config") or {}).items():
        if kind == "text" and (given["method"] != "forward" or given["method_output_name"] not in _GIVES):
            return f"'{given['method']}' of the model"
        if kind == "message":
            return "texts as messages of a chat"
    tables = {name: settings.get(name) or {} for name in _TABLES}
    odd = [f"{name}.{key}" for name, table in tables.items() for key in table if key not in _HARMLESS]
    given = tokenizer_settings(settings)
    odd += [f"tokenizer_args.{key}" for key in given if key not in {*TOKENIZER, *_HARMLESS}]
    odd += [name for name in ("processing_kwargs", "query_expansion", "tokenizer_name_or_path") if settings.get(name)]
    odd += [name for name, value in settings.items() if value and name not in _READ | _CHECKED]
    return f"'{odd[0]}'" if odd else None
