"""What transformers' classes imply where a checkpoint's files are silent, as data of the runtime.

`python -m tests.class_defaults` writes runtime/processing/defaults/*.json again.
"""

import inspect
import json

import transformers
from tokenizers import AddedToken
from transformers.image_utils import SizeDict
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES
from transformers.models.auto.image_processing_auto import (
    IMAGE_PROCESSOR_MAPPING_NAMES,
    get_image_processor_class_from_name,
)
from transformers.models.auto.tokenization_auto import (
    MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS,
    TOKENIZER_MAPPING_NAMES,
    tokenizer_class_from_name,
)

from tests.imports import ROOT
from vitrify.runtime.processing.audio.features import EXTRACTORS
from vitrify.runtime.processing.audio.settings import SETTING_NAMES as SPEECH_SETTINGS
from vitrify.runtime.processing.class_defaults import GENERIC_TOKENIZER, UNBOUNDED
from vitrify.runtime.processing.image.processor import PROCESSORS
from vitrify.runtime.processing.image.settings import SETTING_NAMES as IMAGE_SETTINGS
from vitrify.runtime.processing.text.special_tokens import NAMED

FOLDER = ROOT / "runtime" / "processing" / "defaults"
# No class of a checkpoint, or one whose inputs were others before transformers 5: nothing follows from its name.
_UNTOLD = {
    "AutoTokenizer",
    "BasicTokenizer",
    "CharacterTokenizer",
    "MecabTokenizer",
    "PreTrainedTokenizer",
    "WordpieceTokenizer",
}
_BASE = transformers.PreTrainedTokenizerBase
_PLAIN = {
    "model_input_names": _BASE.model_input_names,
    "padding_side": _BASE.padding_side,
    "truncation_side": _BASE.truncation_side,
    "pad_token_type_id": 0,
    "clean_up_tokenization_spaces": False,
    "split_special_tokens": False,
    "model_max_length": None,
}


def tables():
    """Return the content of every file by its name."""
    return {"tokenizers": tokenizers(), "image_processors": image_processors(), "feature_extractors": extractors()}


def tokenizers():
    # A class that became another's alias is found by its name only, which is that of its model's configuration.
    aliases = {name.replace("Config", "Tokenizer") for name in CONFIG_MAPPING_NAMES.values()}
    exported = {name for name in transformers.__all__ if name.removesuffix("Fast").endswith("Tokenizer")}
    names = {_plain(name) for name in {*aliases, *exported, *filter(None, TOKENIZER_MAPPING_NAMES.values())}}
    rows = {name: _tokenizer_row(name) for name in sorted(names - _UNTOLD)}
    return {
        "classes": {name: row for name, row in rows.items() if row is not None},
        "models": {kind: _plain(name) for kind, name in sorted(TOKENIZER_MAPPING_NAMES.items()) if name},
        "overruled": sorted(MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS),
    }


def _plain(name):
    return GENERIC_TOKENIZER if name == "MistralCommonBackend" else name.removesuffix("Fast")


def _tokenizer_row(name):
    """Return what a class says that the plainest one does not; None where transformers has no such class here."""
    found = tokenizer_class_from_name(name)
    if found is None or type(found) is not type:  # a stand-in where a package is missing
        return None
    made = _without_files(found)
    tokens = _tokens_of(found) if made is None else made.special_tokens_map
    settings = {key: getattr(found if made is None else made, key, None) for key in _PLAIN}
    said = {key: value for key, value in settings.items() if _is_said(key, value)}
    return {**{key: tokens[key] for key in NAMED if tokens.get(key)}, **said}


def _without_files(found):
    try:
        return found()
    except Exception:  # noqa: BLE001 - it needs a vocabulary: its signature says the rest
        return None


def _tokens_of(found):
    parameters = inspect.signature(found.__init__).parameters
    defaults = {name: parameters[name].default for name in NAMED if name in parameters}
    return {name: str(value) for name, value in defaults.items() if isinstance(value, str | AddedToken)}


def _is_said(key, value):
    if key == "model_max_length":
        return value is not None and value < UNBOUNDED
    return value is not None and not isinstance(value, property) and value != _PLAIN[key]


def image_processors():
    rows = {name: get_image_processor_class_from_name(f"{name}Pil")() for name in sorted(PROCESSORS)}
    models = {kind: each.get("torchvision") or each["pil"] for kind, each in IMAGE_PROCESSOR_MAPPING_NAMES.items()}
    return {
        "classes": {name: _settings(made, IMAGE_SETTINGS) for name, made in rows.items()},
        "models": {kind: name.removesuffix("Pil") for kind, name in sorted(models.items())},
    }


def extractors():
    rows = {name: getattr(transformers, name)() for name in sorted(EXTRACTORS)}
    return {
        "classes": {name: _settings(made, SPEECH_SETTINGS) for name, made in rows.items()},
        "models": dict(sorted(FEATURE_EXTRACTOR_MAPPING_NAMES.items())),
    }


def _settings(made, names):
    values = {name: _json_value(getattr(made, name, None)) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _json_value(value):
    if isinstance(value, SizeDict):
        return {key: each for key, each in dict(value).items() if each is not None}
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def text_of(table):
    """Return a table as JSON with a row a line."""
    parts = []
    for name, rows in table.items():
        if isinstance(rows, dict):
            lines = [f"    {json.dumps(key)}: {json.dumps(row)}" for key, row in rows.items()]
            parts.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n  }")
        else:
            parts.append(f"  {json.dumps(name)}: {json.dumps(rows)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    for stem, content in tables().items():
        (FOLDER / f"{stem}.json").write_text(text_of(content), encoding="utf-8")
