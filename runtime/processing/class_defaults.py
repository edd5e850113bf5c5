"""What a Python class of transformers implies where a folder's files are silent, and which class they mean.

Its tables are in defaults/, written from transformers by `python -m tests.class_defaults`. It knows what no setting
means.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import IntegrityError
from ..json_files import read_object

GENERIC_TOKENIZER = "TokenizersBackend"  # of transformers 5: nothing but what the files say
UNBOUNDED = 10**20  # transformers writes 1e30 where a tokenizer has no longest text

Values = Mapping[str, Any]


@cache
def _table(name: str) -> Mapping[str, Any]:
    return json.loads(Path(__file__).with_name("defaults").joinpath(f"{name}.json").read_text(encoding="utf-8"))


def model_config(folder: Path) -> Values:
    """Return the config.json beside a processor's files; nothing where there is none to read."""
    try:
        return read_object(folder / "config.json")
    except (OSError, IntegrityError):
        return {}


def tokenizer_class(saved: Values, model: Values, *, is_byte_level: bool) -> str | None:
    """Return the class that transformers' AutoTokenizer makes of a folder; None where only its own code has it.

    `saved` is tokenizer_config.json. A class that is wrong in published files gives way to the model's, as there.
    """
    table, kind = _table("tokenizers"), _kind(model)
    own, is_overruled = table["models"].get(kind), kind in table["overruled"]
    if saved.get("auto_map") and not is_overruled:
        return None
    named = saved.get("tokenizer_class") or model.get("tokenizer_class")
    if not isinstance(named, str):
        nested = model.get("encoder")
        return own or table["models"].get(_kind(nested if isinstance(nested, Mapping) else {}))
    named = named.removesuffix("Fast")
    if named == "LlamaTokenizer" and is_byte_level and not is_overruled:
        return GENERIC_TOKENIZER
    if own == GENERIC_TOKENIZER:
        return own
    return own if own and is_overruled else named


def tokenizer_defaults(name: str | None) -> Values | None:
    """Return special tokens and settings of a class; None for one that says nothing of its inputs."""
    return _table("tokenizers")["classes"].get(name)


def image_processor_class(saved: Values, model: Values) -> str | None:
    """Return the class of an image processor, without the suffix of a backend; None where no file tells it."""
    names = (saved.get("image_processor_type"), saved.get("feature_extractor_type"), model.get("image_processor_type"))
    named = next((name for name in names if isinstance(name, str)), None)
    if named is None:
        return _table("image_processors")["models"].get(_kind(model))
    return named.replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast").removesuffix("Pil")


def image_processor_defaults(name: str) -> Values:
    """Return the settings of a class that the runtime has."""
    return _table("image_processors")["classes"][name]


def feature_extractor_class(saved: Values, model: Values) -> str | None:
    """Return the class of a feature extractor; None where no file tells it."""
    names = (saved.get("feature_extractor_type"), model.get("feature_extractor_type"))
    named = next((name for name in names if isinstance(name, str)), None)
    return named or _table("feature_extractors")["models"].get(_kind(model))


def feature_extractor_defaults(name: str) -> Values:
    """Return the settings of a class that the runtime has."""
    return _table("feature_extractors")["classes"][name]


def _kind(model: Values) -> str:
    return str(model.get("model_type"))
