"""The routes of Hugging Face's text-embeddings-inference, which LangChain, LlamaIndex and Haystack speak.

`/embed` and its like stand for the first model that serves their task; `/models/NAME/embed` names one.
"""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from ..runtime.errors import UsageError
from ..runtime.processing.labels import default_function
from .answering import Answering
from .json_bodies import Json
from .models import ServedModel
from .openai import Asked


class Embed(Asked):
    """`POST /embed`."""

    inputs: str | list[str]
    normalize: bool = True
    truncate: bool | None = None
    truncation_direction: str = "right"
    prompt_name: str | None = None
    dimensions: int | None = None


class RerankTexts(Asked):
    """`POST /rerank`."""

    query: str
    texts: list[str]
    raw_scores: bool = False
    return_text: bool = False
    truncate: bool | None = None
    truncation_direction: str = "right"


class Predict(Asked):
    """`POST /predict`."""

    inputs: str | list[str] | list[list[str]]
    raw_scores: bool = False
    truncate: bool | None = None
    truncation_direction: str = "right"


def router(answering: Answering) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["text-embeddings-inference"])

    def serving(name: str | None, task: str) -> ServedModel:
        if name is not None:
            return answering.models.named(name)
        found = next((model for model in answering.models if task in model.tasks), None)
        if found is None:
            raise UsageError(f"no model of this server serves {task}")
        return found

    @routes.post("/embed")
    @routes.post("/models/{name}/embed")
    async def embed(asked: Embed, name: str | None = None) -> Response:
        """Return a vector of each text."""
        _check_truncation(asked)
        pipe = serving(name, "text-embedding").first(["text-embedding"])
        texts = asked.inputs if isinstance(asked.inputs, list) else [asked.inputs]
        options = {"prompt_name": asked.prompt_name, "truncate_dim": asked.dimensions}
        given = {name: value for name, value in options.items() if value is not None}
        return Json(await answering.run(pipe, texts, {"normalize_embeddings": asked.normalize, **given}, several=True))

    @routes.post("/rerank")
    @routes.post("/models/{name}/rerank")
    async def rerank(asked: RerankTexts, name: str | None = None) -> Response:
        """Rank texts by a query, best first."""
        _check_truncation(asked)
        pipe = serving(name, "text-ranking").first(["text-ranking"])
        options: dict[str, Any] = {"activation_fn": "Identity"} if asked.raw_scores else {}
        ranked = await answering.run(pipe, asked.query, {"documents": asked.texts, **options})
        texts = [{"text": asked.texts[each["corpus_id"]]} if asked.return_text else {} for each in ranked]
        return Json(
            [
                {"index": each["corpus_id"], "score": each["score"], **text}
                for each, text in zip(ranked, texts, strict=True)
            ]
        )

    @routes.post("/predict")
    @routes.post("/models/{name}/predict")
    async def predict(asked: Predict, name: str | None = None) -> Response:
        """Return every label of each text, or pair of texts, with its score."""
        _check_truncation(asked)
        pipe = serving(name, "text-classification").first(["text-classification"])
        function = "none" if asked.raw_scores else default_function(pipe.config)
        options = {"top_k": None, "truncation": True, "function_to_apply": function}
        if isinstance(asked.inputs, str):
            return Json(await answering.run(pipe, asked.inputs, options))
        return Json(await answering.run(pipe, [_pair(each) for each in asked.inputs], options, several=True))

    return routes


def _pair(given: str | list[str]) -> Any:
    if isinstance(given, str):
        return given
    if len(given) == 1:
        return given[0]
    if len(given) != 2:
        raise UsageError(f"inputs must be texts or pairs of texts, got a list of {len(given)}")
    return {"text": given[0], "text_pair": given[1]}


def _check_truncation(asked: Embed | RerankTexts | Predict) -> None:
    """Raise UsageError where a text shall not be cut off, or on the other side."""
    if asked.truncate is False:
        raise UsageError("truncate must be true: a text longer than the model takes is cut off")
    if asked.truncation_direction.lower() != "right":
        raise UsageError(f"truncation_direction must be 'right', got {asked.truncation_direction!r:.40}")
