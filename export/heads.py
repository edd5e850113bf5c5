"""The heads that export: their auto class and what of its output a graph keeps; the facts come from transformers."""

from dataclasses import dataclass
from typing import Any

from ..runtime.errors import UnsupportedError, UsageError
from ..runtime.kinds import TEXT, kind_of
from ..runtime.pipelines import TASKS, find_task, tasks_of


@dataclass(frozen=True)
class Head:
    """One head: the auto class that loads it, transformers' table of the classes that have it, the outputs kept.

    `family` is the topology of its graphs; `writes_text` says that a tokenizer turns its answers into text.
    """

    name: str
    auto_class: str
    mapping: str
    outputs: tuple[str, ...]
    family: str = "encoder"
    writes_text: bool = False


HEADS = (
    Head(
        "sequence-classification",
        "AutoModelForSequenceClassification",
        "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
        ("logits",),
    ),
    Head(
        "token-classification",
        "AutoModelForTokenClassification",
        "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES",
        ("logits",),
    ),
    Head(
        "question-answering",
        "AutoModelForQuestionAnswering",
        "MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES",
        ("start_logits", "end_logits"),
    ),
    # Before masked-lm: the classes of BART's kind are in both tables, and their checkpoints are trained to write.
    Head(
        "seq2seq-lm",
        "AutoModelForSeq2SeqLM",
        "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
        ("logits",),
        "encoder-decoder",
        True,
    ),
    Head("masked-lm", "AutoModelForMaskedLM", "MODEL_FOR_MASKED_LM_MAPPING_NAMES", ("logits",)),
    Head(
        "image-classification",
        "AutoModelForImageClassification",
        "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
        ("logits",),
    ),
    Head("causal-lm", "AutoModelForCausalLM", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES", ("logits",), "decoder", True),
    Head(
        "speech-seq2seq",
        "AutoModelForSpeechSeq2Seq",
        "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES",
        ("logits",),
        "encoder-decoder",
        True,
    ),
    Head(
        "image-to-text",
        "AutoModelForImageTextToText",
        "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
        ("logits",),
        "encoder-decoder",
        True,
    ),
    Head("ctc", "AutoModelForCTC", "MODEL_FOR_CTC_MAPPING_NAMES", ("logits",), "encoder", True),
    Head("base", "AutoModel", "MODEL_MAPPING_NAMES", ("last_hidden_state", "pooler_output")),
)

_BY_NAME = {head.name: head for head in HEADS}


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
    heads = [_BY_NAME[name] for name in find_task(task).heads]
    if found := next((head for head in heads if _has(head, config)), None):
        return found
    if architecture is None or _remote(config):
        return heads[0]
    if not (own := _served_by(architecture)):
        raise _unknown(architecture)
    raise UsageError(
        f"the checkpoint's head is {architecture}, which does not serve '{task}' (it serves: {', '.join(own)}). "
        "Choose one of these tasks, or a checkpoint trained for yours"
    )


def loader_of(head: Head, config: Any) -> Any:
    """Return what loads a checkpoint with this head: its auto class, or the class named where that knows it not."""
    import transformers

    architecture = _architecture(config)
    known = config.model_type in _classes(head) or _remote(config) or architecture not in _names(head)
    return getattr(transformers, head.auto_class if known else str(architecture))


def main_input(model_class: Any) -> str:
    """Return the name of a class's main input; the first where it has several."""
    names = model_class.main_input_name
    return names if isinstance(names, str) else names[0]


def reads(model_class: Any) -> str:
    """Return what a class reads: "text", "image" or "audio"."""
    return kind_of([main_input(model_class)]) or TEXT


def _architecture(config: Any) -> str | None:
    return next(iter(config.architectures or ()), None)


def _has(head: Head, config: Any) -> bool:
    """Tell whether a checkpoint has this head, as its class or its own code says or, without a class, its type.

    Every checkpoint has a body.
    """
    if head.name == "base" or _architecture(config) in _names(head):
        return True
    if _remote(config):
        return head.auto_class in config.auto_map
    return _architecture(config) is None and config.model_type in _classes(head)


def _head_of(architecture: str | None) -> Head:
    if architecture is None:
        raise UsageError(f"config.json names no architecture to infer the task from. Say --task: {_task_names()}")
    for head in HEADS:
        if architecture in _names(head):
            return head
    raise _unknown(architecture)


def _unknown(architecture: str) -> UnsupportedError:
    return UnsupportedError(f"the head {architecture} is not among those vitrify exports. Tasks: {_task_names()}")


def _served_by(architecture: str) -> list[str]:
    """Return the tasks of a class: those of its heads, and those of its body on what it reads."""
    import transformers

    kind = reads(getattr(transformers, architecture)) if hasattr(transformers, architecture) else TEXT
    own = {head.name for head in HEADS if architecture in _names(head)} - {"base"}
    return [task.name for task in TASKS if own.intersection(task.heads)] + list(tasks_of("base", kind))


def _names(head: Head) -> set[str]:
    """Return the names of the classes that have a head."""
    return {name for names in _classes(head).values() for name in names}


def _classes(head: Head) -> dict[str, tuple[str, ...]]:
    from transformers.models.auto import modeling_auto

    mapping = getattr(modeling_auto, head.mapping)
    return {key: (value,) if isinstance(value, str) else tuple(value) for key, value in mapping.items()}


def _remote(config: Any) -> bool:
    return bool(getattr(config, "auto_map", None))


def _task_names() -> str:
    return ", ".join(task.name for task in TASKS)
