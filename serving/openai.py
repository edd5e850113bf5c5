"""OpenAI's routes: the models, embeddings, and reranking as Jina and Cohere have it."""

import base64
import time
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from ..runtime.errors import UsageError
from .answering import Answering
from .executor import CURRENT
from .json_bodies import Json
from .models import ServedModel


class Asked(BaseModel):
    """A request: what it has beyond these fields is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Embeddings(Asked):
    """`POST /v1/embeddings`."""

    model: str
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: str | None = None


class Rerank(Asked):
    """`POST /v1/rerank`."""

    model: str
    query: str
    documents: list[str | dict[str, Any]]
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool = False


def router(answering: Answering) -> APIRouter:
    """Return the routes."""
    routes, made = APIRouter(prefix="/v1", tags=["OpenAI"]), int(time.time())

    def card(model: ServedModel) -> dict[str, Any]:
        return {"id": model.name, "object": "model", "created": made, "owned_by": "vitrify"}

    @routes.get("/models")
    async def models() -> JSONResponse:
        """List the models."""
        return JSONResponse({"object": "list", "data": [card(model) for model in answering.models]})

    @routes.get("/models/{name}")
    async def model(name: str) -> JSONResponse:
        """Describe a model."""
        return JSONResponse(card(answering.models.named(name)))

    @routes.post("/embeddings")
    async def embeddings(asked: Embeddings) -> Response:
        """Return a vector of each text."""
        served = answering.models.named(asked.model)
        pipe = served.first(["text-embedding"])
        texts = _texts(asked.input, pipe)
        options = {} if asked.dimensions is None else _shortened(asked.dimensions, served)
        vectors = await answering.run(pipe, texts, options, several=True)
        data = [
            {"object": "embedding", "index": index, "embedding": _written(vector, asked.encoding_format)}
            for index, vector in enumerate(vectors)
        ]
        usage = _usage()
        return Json({"object": "list", "data": data, "model": served.name, "usage": usage})

    @routes.post("/rerank")
    async def rerank(asked: Rerank) -> Response:
        """Rank documents by a query, best first."""
        served = answering.models.named(asked.model)
        documents = [_document(each) for each in asked.documents]
        pipe = served.first(["text-ranking"])
        ranked = await answering.run(pipe, asked.query, {"documents": documents, "top_k": asked.top_n})
        results = [
            {
                "index": each["corpus_id"],
                "relevance_score": each["score"],
                **({"document": {"text": documents[each["corpus_id"]]}} if asked.return_documents else {}),
            }
            for each in ranked
        ]
        return Json({"model": served.name, "results": results, "usage": _usage()})

    return routes


def _texts(given: Any, pipe: Any) -> list[str]:
    """Return the texts of a request, which may be tokens: those are read as the text that they are of."""
    several = [given] if isinstance(given, str) or (given and isinstance(given[0], int)) else list(given)
    if not several:
        raise UsageError("input must contain a text, got an empty list")
    size = len(pipe.tokenizer)
    for each in several:
        if not isinstance(each, str) and not all(0 <= token < size for token in each):
            raise UsageError(f"input has a token that is not in the vocabulary of {size}")
        if not each:
            raise UsageError("input must not have an empty text")
    decode = partial(pipe.tokenizer.decode, skip_special_tokens=True)  # the pipeline adds its own
    return [each if isinstance(each, str) else decode(each) for each in several]


def _shortened(dimensions: int, served: ServedModel) -> dict[str, Any]:
    size = served.bundle.signature.outputs[-1].axes[-1]
    if isinstance(size, int) and dimensions > size:
        raise UsageError(f"dimensions must be at most {size}, which model '{served.name}' has, got {dimensions}")
    return {"truncate_dim": dimensions, "normalize_embeddings": True}


def _written(vector: np.ndarray, how: str) -> Any:
    return vector if how == "float" else base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _document(given: str | dict[str, Any]) -> str:
    text = given if isinstance(given, str) else given.get("text")
    if not isinstance(text, str):
        raise UsageError('a document must be a text or {"text": ...}')
    return text


def _usage() -> dict[str, int]:
    ticket = CURRENT.get()
    tokens = ticket.tokens if ticket else 0
    return {"prompt_tokens": tokens, "total_tokens": tokens}
