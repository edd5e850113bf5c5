"""Which head a checkpoint has and what loads it: transformers' own tables, by the names of the runtime's heads."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ...runtime.errors import IntegrityError, UnsupportedError, UsageError
from ...runtime.graphs.heads import HEADS, Head
from ...runtime.graphs.signature import kinds_of
from ...runtime.tasks import TASKS, find_task, tasks_of


@dataclass(frozen=True)
class Classes:
    """The auto class that loads a head, and transformers' table of the classes that have it."""

    auto_class: str
    mapping: str


# Seq2seq-lm stands before masked-lm: BART's classes are in both tables, and their checkpoints are trained to generate.
CLASSES: Mapping[str, Classes] = MappingProxyType(
    {
        "sequence-classification": Classes(
            "AutoModelForSequenceClassification", "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES"
        ),
        "token-classification": Classes(
            "AutoModelForTokenClassification", "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES"
        ),
        "question-answering": Classes("AutoModelForQuestionAnswering", "MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES"),
        "seq2seq-lm": Classes("AutoModelForSeq2SeqLM", "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES"),
        "masked-lm": Classes("AutoModelForMaskedLM", "MODEL_FOR_MASKED_LM_MAPPING_NAMES"),
        "image-classification": Classes(
            "AutoModelForImageClassification", "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES"
        ),
        "causal-lm": Classes("AutoModelForCausalLM", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"),
        "speech-seq2seq": Classes("AutoModelForSpeechSeq2Seq", "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES"),
        "image-to-text": Classes("AutoModelForImageTextToText", "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES"),
        "ctc": Classes("AutoModelForCTC", "MODEL_FOR_CTC_MAPPING_NAMES"),
        "base": Classes("AutoModel", "MODEL_MAPPING_NAMES"),
        "embedding": Classes("AutoModel", "MODEL_MAPPING_NAMES"),
    }
)


# What every checkpoint has: its body, with or without the modules of sentence-transformers.
BODIES = ("base", "embedding")
# Classes that load the encoder of an encoder-decoder alone, as sentence-transformers does.
_ENCODERS = "MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES"


def choose_head(config: Any, task: str | None) -> Head:
    """Return the head for `task`, or the one that `config.architectures` names when no task is given.

    Raises
    ------
    UsageError
        The checkpoint has no such head, or names no architecture to infer the task from.
    UnsupportedError
        The checkpoint's head belongs to a task that vitrify does not run.

    """
    architecture = _architecture(config)
    if task is None:
        return _head_of(architecture)
    heads = [HEADS[name] for name in find_task(task).heads]
    if found := next((head for head in heads if _has(head, config)), None):
        return found
    if architecture is None or _remote(config):
        return heads[0]
    if not (own := _served_by(architecture)):
        raise _unknown(architecture)
    raise UsageError(
        f"the checkpoint's head is {architecture}, which does not support task '{task}' (supported: {', '.join(own)}). "
        "Choose one of these tasks, or a checkpoint trained for yours"
    )


def loader_of(head: Head, config: Any) -> Any:
    """Return what loads a checkpoint with this head: its auto class, or the class named where that knows it not.

    Of an encoder-decoder a sentence embedding reads the encoder, where transformers has it by itself.
    """
    import transformers

    if head.name == "embedding" and (encoder := _encoder_alone(config)):
        return getattr(transformers, encoder)
    architecture = _architecture(config)
    known = config.model_type in _classes(head) or _remote(config) or architecture not in _names(head)
    return getattr(transformers, CLASSES[head.name].auto_class if known else str(architecture))


def main_input(model_class: Any) -> str:
    """Return the name of a class's main input; the first where it has several."""
    names = model_class.main_input_name
    return names if isinstance(names, str) else names[0]


def kinds_read(head: Head, model_class: Any) -> tuple[str, ...]:
    """Return what a class with this head reads: "text", "image" or "audio"."""
    return head.reads or kinds_of([main_input(model_class)]) or ("text",)


def _architecture(config: Any) -> str | None:
    names = config.architectures or []
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise IntegrityError(f"config.json: 'architectures' must be a list of class names, got {names!r}")
    return next(iter(names), None)


def _has(head: Head, config: Any) -> bool:
    """Tell whether a checkpoint has this head: its class says so, or its own code, or the type of one without a class.

    Every checkpoint has a body.
    """
    if head.name in BODIES or _architecture(config) in _names(head):
        return True
    if _remote(config):
        return CLASSES[head.name].auto_class in config.auto_map
    return _architecture(config) is None and config.model_type in _classes(head)


def _head_of(architecture: str | None) -> Head:
    if architecture is None:
        raise UsageError(f"config.json names no architecture to infer the task from. Pass --task: {_task_names()}")
    for name in CLASSES:
        if architecture in _names(HEADS[name]):
            return HEADS[name]
    raise _unknown(architecture)


def _unknown(architecture: str) -> UnsupportedError:
    return UnsupportedError(f"the head {architecture} is not supported. Tasks: {_task_names()}")


def _served_by(architecture: str) -> list[str]:
    """Return the tasks of a class: those of its heads, and those of its body on what it reads."""
    import transformers

    found = getattr(transformers, architecture, None)
    kinds = kinds_read(HEADS["base"], found) if found is not None else ("text",)
    own = {name for name in CLASSES if architecture in _names(HEADS[name])} - set(BODIES)
    of_body = dict.fromkeys(task for name in BODIES for task in tasks_of(name, kinds))
    return [task.name for task in TASKS if own.intersection(task.heads)] + list(of_body)


def _names(head: Head) -> set[str]:
    """Return the names of the classes that have a head."""
    return {name for names in _classes(head).values() for name in names}


def _classes(head: Head) -> dict[str, tuple[str, ...]]:
    from transformers.models.auto import modeling_auto

    mapping = getattr(modeling_auto, CLASSES[head.name].mapping)
    return {key: (value,) if isinstance(value, str) else tuple(value) for key, value in mapping.items()}


def _encoder_alone(config: Any) -> str | None:
    from transformers.models.auto import modeling_auto

    own = getattr(config, "is_encoder_decoder", False) or str(_architecture(config)).endswith("EncoderModel")
    return getattr(modeling_auto, _ENCODERS).get(config.model_type) if own else None


def _remote(config: Any) -> bool:
    found = getattr(config, "auto_map", None) or {}
    if not isinstance(found, Mapping):
        raise IntegrityError(f"config.json: 'auto_map' must be an object of class names, got {found!r}")
    return bool(found)


def _task_names() -> str:
    return ", ".join(task.name for task in TASKS)
