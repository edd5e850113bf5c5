"""The call of each task that a model card shows, in Python and on the command line; it runs none."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ..bundle.manifest import Bundle
from ..errors import VitrifyError
from ..json_files import read_object
from ..tasks import Task

_MASK = "[MASK]"
_WORD = re.compile(r"[\w<>\[\]{}|#@/ -]{1,40}")


@dataclass(frozen=True)
class Example:
    """An input of a task and the arguments that go with it; `kind` is what the task reads."""

    kind: str
    value: Any
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def python(self) -> str:
        """What stands between the parentheses of a call, here and in transformers."""
        given = self.value if isinstance(self.value, dict) else {}
        first = [] if given else [json.dumps(self.value)]
        return ", ".join([*first, *(f"{key}={json.dumps(item)}" for key, item in (given | self.options).items())])

    @property
    def javascript(self) -> str:
        """What stands between the parentheses of a call of transformers.js."""
        values = list(self.value.values()) if isinstance(self.value, dict) else [self.value]
        return ", ".join(json.dumps(item) for item in (*values, *([self.options] if self.options else [])))

    @property
    def words(self) -> str:
        """What stands behind the model on the command line."""
        value = self.value if isinstance(self.value, str) else json.dumps(self.value)
        options = [shlex.quote(f"{key}={json.dumps(item)}") for key, item in self.options.items()]
        return " ".join([shlex.quote(value), *(f"--param {option}" for option in options)])


_OF_KINDS: Mapping[str, Example] = MappingProxyType(
    {
        "text": Example("text", "Vitrify turns sand into glass."),
        "image": Example("image", "image.png"),
        "audio": Example("audio", "audio.wav"),
    }
)
_OF_TASKS: Mapping[str, Example] = MappingProxyType(
    {
        "question-answering": Example(
            "text", {"question": "Where does Sarah live?", "context": "My name is Sarah and I live in London."}
        ),
        "fill-mask": Example("text", f"Paris is the {_MASK} of France."),
        "zero-shot-classification": Example(
            "text", "I have a problem with my phone.", {"candidate_labels": ["urgent", "not urgent"]}
        ),
        "text-ranking": Example(
            "text", {"query": "Where is Paris?", "documents": ["Paris is in France.", "Glass is made of sand."]}
        ),
        "text-generation": Example("text", "Once upon a time", {"max_new_tokens": 32}),
    }
)


def example_of(bundle: Bundle, task: Task) -> Example:
    """Return what a card shows of a task; for fill-mask with the mask token of the bundle's tokenizer."""
    example = _OF_TASKS.get(task.name, _OF_KINDS[task.inputs])
    if task.name != "fill-mask":
        return example
    return Example(example.kind, example.value.replace(_MASK, _mask_token(bundle)))


def _mask_token(bundle: Bundle) -> str:
    try:
        token = read_object(bundle.path("tokenizer_config.json")).get("mask_token")
    except VitrifyError:
        return _MASK
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) and _WORD.fullmatch(content) else _MASK
