"""`POST /models/NAME`: Hugging Face's inference API, as `huggingface_hub.InferenceClient` speaks it; one row a task."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ..runtime.errors import UsageError
from ..runtime.tasks import find_task
from .answering import Answering
from .json_bodies import Json, read_object
from .models import ServedModel

Options = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """What the wire has otherwise than `pipeline()`: the inputs, the arguments, the result of one input."""

    inputs: Callable[[Any], Any] = lambda given: given
    options: Callable[[Options], Options] = lambda given: given
    result: Callable[[Any], Any] = lambda made: made
    is_several: Callable[[Any], bool] = lambda inputs: isinstance(inputs, list)
    # Whether the result of one input stands in a list too.
    nests: bool = False


def router(answering: Answering) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["Hugging Face"])
    declared: Any = {"requestBody": {"required": True, "content": {"application/json": {"schema": _SCHEMA}}}}

    @routes.post("/", openapi_extra=declared)
    async def only_model(request: Request) -> Response:
        """Run the server's only model."""
        return await _answer(answering, answering.models.named(None), None, request)

    @routes.post("/models/{name}", openapi_extra=declared)
    async def model(name: str, request: Request) -> Response:
        """Run a model on `inputs`, with `parameters`; an image or a recording may also be the whole body."""
        return await _answer(answering, answering.models.named(name), None, request)

    @routes.post("/models/{name}/pipeline/{task}", openapi_extra=declared)
    async def model_by_task(name: str, task: str, request: Request) -> Response:
        """Run one of the tasks of a model."""
        return await _answer(answering, answering.models.named(name), task, request)

    return routes


_SCHEMA = {
    "type": "object",
    "properties": {"inputs": {}, "parameters": {"type": "object"}},
    "required": ["inputs"],
}


async def _answer(answering: Answering, model: ServedModel, task: str | None, request: Request) -> Response:
    inputs, options = _read(await request.body(), request.headers.get("content-type", ""))
    name = _task_of(model, task, inputs, options)
    if name == _SIMILARITY:
        return Json(await _similarities(answering, model, inputs, options))
    pipe, row = model.pipeline(name), ROWS.get(name, Row())
    several = row.is_several(inputs)
    given = [row.inputs(each) for each in inputs] if several else row.inputs(inputs)
    made = await answering.run(pipe, given, row.options(options), several=several)
    results = [row.result(each) for each in (made if several else [made])]
    return Json(results if several or row.nests else results[0])


def _read(body: bytes, kind: str) -> tuple[Any, Options]:
    """Return the inputs and the arguments of a body, which may stand at its root too; raw bytes are one input."""
    if not body:
        raise UsageError('the request is empty: send {"inputs": ...}')
    if "json" not in kind and not body.lstrip().startswith(b"{"):
        return body, {}
    content = read_object(body)
    if "inputs" not in content:
        content = _without_inputs(content)
    inputs, parameters = content.pop("inputs"), content.pop("parameters", None)
    parameters = {} if parameters is None else parameters
    if not isinstance(parameters, dict):
        raise UsageError(f"parameters must be an object, got {type(parameters).__name__}")
    content.pop("options", None)  # of Hugging Face's own servers: caching, waiting for a model
    if content.get("stream") is False:
        del content["stream"]
    if twice := sorted(set(content) & set(parameters)):
        raise UsageError(f"'{twice[0]}' is among the parameters and at the root: send it once")
    return inputs, {name: value for name, value in (content | parameters).items() if value is not None}


def _without_inputs(content: Options) -> Options:
    if "source_sentence" in content:
        return {"inputs": content}
    raise UsageError('the request has no "inputs"')


_SIMILARITY = "sentence-similarity"


def _task_of(model: ServedModel, task: str | None, inputs: Any, options: Options) -> str:
    """Return the task: as named, else as what was sent says, else the model's first."""
    if isinstance(inputs, Mapping) and "source_sentence" in inputs:
        return _SIMILARITY
    if task is not None:
        return find_task(task).name
    told = "zero-shot-classification" if "candidate_labels" in options else model.tasks[0]
    return told if told in model.tasks else model.tasks[0]


async def _similarities(answering: Answering, model: ServedModel, inputs: Any, options: Options) -> list[float]:
    pipe, others = model.first(["text-embedding"]), inputs.get("sentences")
    if not isinstance(others, list) or set(inputs) != {"source_sentence", "sentences"}:
        raise UsageError('sentence-similarity expects {"source_sentence": ..., "sentences": [...]}')
    vectors = await answering.run(pipe, [inputs["source_sentence"], *others], options, several=True)
    return pipe.similarity(vectors[:1], vectors[1:])[0].tolist() if others else []


def _binary(given: Any) -> bytes:
    """Return an image or a recording: bytes, or their base64; addresses and paths are not followed."""
    if isinstance(given, bytes):
        return given
    if not isinstance(given, str):
        raise UsageError(f"an image or audio must be bytes or base64, got {type(given).__name__}")
    content = given.partition(";base64,")[2] if given.startswith("data:") else given
    try:
        if decoded := base64.b64decode(content, validate=True):
            return decoded
    except (binascii.Error, ValueError):
        pass  # said below
    raise UsageError("an image or audio must be sent as bytes or base64: URLs and paths are not read")


def _text(given: Any) -> Any:
    if isinstance(given, bytes):
        raise UsageError('this model reads text: send JSON, {"inputs": "..."}')
    return given


def _listed(made: Any) -> list[Any]:
    return made if isinstance(made, list) else [made]


def _labels(made: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    pairs = zip(made["labels"], made["scores"], strict=True)
    return [{"label": label, "score": score} for label, score in pairs]


def _embedding_options(given: Options) -> Options:
    """Return the arguments of an embedding by their names here; one whose value changes nothing is left out."""
    names = {"normalize": "normalize_embeddings", "dimensions": "truncate_dim"}
    options = {names.get(name, name): value for name, value in given.items()}
    if options.pop("truncate", True) is not True:
        raise UsageError("truncate must be true: a text longer than the model takes is cut off")
    for name, only in (("truncation_direction", "right"), ("encoding_format", "float")):
        if (asked := str(options.pop(name, only)).lower()) != only:
            raise UsageError(f"{name} must be {only!r}, got {asked!r:.40}")
    return options


def _label_options(given: Options) -> Options:
    """Return the arguments; a template may only say where the label goes: a format of its own may ask for gigabytes."""
    template = given.get("hypothesis_template", "{}")
    if isinstance(template, str) and set(re.sub(r"\{\{|\}\}|\{\}", "", template)) & set("{}"):
        raise UsageError(f"hypothesis_template must have {{}} where the label goes, got {template!r:.60}")
    return given


def _feature_options(given: Options) -> Options:
    options = dict(given)
    if (truncate := options.pop("truncate", None)) is not None:
        options["truncation"] = truncate
    return options


def _generation_options(given: Options) -> Options:
    """Return the arguments of a text that is made; those of `generate` may come by themselves."""
    options = dict(given)
    own = options.pop("generate_parameters", None) or {}
    if not isinstance(own, dict):
        raise UsageError(f"generate_parameters must be an object, got {type(own).__name__}")
    return {**options, **own}


_GRAMMARS = {"json": "json_schema", "regex": "regex"}


def _continued(given: Options) -> Options:
    """Return the arguments of a continued text by their names here; without another wish only what is new is sent."""
    options = {"return_full_text": False, **given}
    if "stop" in options:
        options["stop_strings"] = options.pop("stop")
    if isinstance(grammar := options.get("grammar"), Mapping) and grammar.get("type") in _GRAMMARS:
        options[_GRAMMARS[grammar["type"]]] = options.pop("grammar").get("value")
    return options


def _never(_: object) -> bool:
    return False


def _are_prompts(inputs: Any) -> bool:
    """Tell whether inputs are a list of texts or chats; a list of messages is one chat."""
    return isinstance(inputs, list) and not any(isinstance(each, Mapping) for each in inputs)


_IMAGE = Row(_binary, is_several=_never)
_MADE = Row(_text, _generation_options, _listed)
ROWS: Mapping[str, Row] = {
    "text-classification": Row(_text, result=_listed, nests=True),
    "token-classification": Row(_text),
    "question-answering": Row(_text),
    "fill-mask": Row(_text),
    "zero-shot-classification": Row(_text, _label_options, _labels),
    "text-embedding": Row(_text, _embedding_options),
    "feature-extraction": Row(_text, _feature_options),
    "text-ranking": Row(_text),
    "text-generation": Row(_text, _continued, _listed, _are_prompts),
    "text2text-generation": _MADE,
    "summarization": _MADE,
    "translation": _MADE,
    "image-classification": _IMAGE,
    "image-feature-extraction": _IMAGE,
    "image-to-text": Row(_binary, _generation_options, _listed, _never),
    "automatic-speech-recognition": Row(_binary, is_several=_never),
}
