"""The heads that export: their auto class and what of its output a graph keeps; the facts come from transformers."""

from dataclasses import dataclass
from typing import Any

from ...runtime.errors import UnsupportedError, UsageError
from ...runtime.pipelines import TASKS, find_task, tasks_of


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
    architecture = next(iter(config.architectures or ()), None)
    if task is None:
        return _head_of(architecture)
    head = _BY_NAME[find_task(task).heads[0]]
    classes = _classes(head).get(config.model_type, ())
    if head.name != "base" and architecture is not None and architecture not in classes and not _remote(config):
        own = _served_by(architecture, "image" if hasattr(config, "num_channels") else "text")
        raise UsageError(
            f"the checkpoint's head is {architecture}, which does not serve '{task}' (it serves: {own}). "
            "Choose one of these tasks, or a checkpoint trained for yours"
        )
    return head


def _head_of(architecture: str | None) -> Head:
    if architecture is None:
        raise UsageError(f"config.json names no architecture to infer the task from. Say --task: {_task_names()}")
    for head in HEADS:
        if any(architecture in classes for classes in _classes(head).values()):
            return head
    raise UnsupportedError(f"the head {architecture} is not among those vitrify exports. Tasks: {_task_names()}")


def _served_by(architecture: str, inputs: str) -> str:
    heads = [head.name for head in HEADS if any(architecture in classes for classes in _classes(head).values())]
    return ", ".join(task for head in dict.fromkeys([*heads, "base"]) for task in tasks_of(head, inputs))


def _classes(head: Head) -> dict[str, tuple[str, ...]]:
    from transformers.models.auto import modeling_auto

    mapping = getattr(modeling_auto, head.mapping)
    return {key: (value,) if isinstance(value, str) else tuple(value) for key, value in mapping.items()}


def _remote(config: Any) -> bool:
    return bool(getattr(config, "auto_map", None))


def _task_names() -> str:
    return ", ".join(task.name for task in TASKS)
