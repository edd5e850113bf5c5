"""text-ranking: documents ranked by a query, as `CrossEncoder.rank` of sentence-transformers 6.2 ranks them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import UsageError
from ..numerics import Row, ranked
from ..processing.activations import activation_of
from ..processing.text.arguments import count
from .results import RankedDocument
from .shared.base import Parameters
from .shared.pieces import Piece
from .shared.sentences import SentencePipeline

_KEYS = ("query", "documents")


@dataclass(frozen=True)
class TextRankingParameters(Parameters):
    """`top_k=None` ranks every document; `activation_fn` is the name of a class of torch.nn, such as "Sigmoid"."""

    documents: Sequence[str] | None = None
    top_k: int | None = None
    return_documents: bool = False
    prompt_name: str | None = None
    prompt: str | None = None
    activation_fn: str | None = None

    def __post_init__(self) -> None:
        if self.top_k is not None:
            count(self.top_k, name="top_k", least=1)


class TextRankingPipeline(SentencePipeline[list[RankedDocument], list[RankedDocument]]):
    """`(query, documents, *, top_k=None, return_documents=False, ...)` -> {"corpus_id", "score"}, best first.

    A query with its documents may also be {"query": ..., "documents": [...]}; a list of queries, or of such dicts,
    gives a list of rankings. With `return_documents` each result has the document's "text".
    """

    parameters = TextRankingParameters
    positional: ClassVar[tuple[str, ...]] = ("documents",)
    expects: ClassVar[str] = 'a query with its documents, or {"query": ..., "documents": [...]}'

    def is_single(self, inputs: Any) -> bool:
        """Tell whether `inputs` is one query."""
        return isinstance(inputs, (str, Mapping))

    def pieces(self, item: Any, parameters: TextRankingParameters) -> Iterator[Piece]:
        """Yield the tokens of the query with each document."""
        query, documents = self._query_and_documents(item, parameters)
        prompt = self.settings.prompt(parameters.prompt, parameters.prompt_name)
        for document in documents:
            yield Piece(self.row(self.encoded(prompt + query, self.text(document))), context=document)

    def kept(self, piece: Piece, row: Row, parameters: TextRankingParameters) -> float:  # noqa: ARG002 - the same for all
        """Return the score of a document; raise UsageError for a classifier of several labels."""
        logits = row["logits"].astype(np.float32)
        if logits.size != 1:
            raise UsageError(
                f"'{self.task}' needs a cross-encoder with one label, and '{self.loaded.name}' has {logits.size}: use "
                "text-classification"
            )
        return float(self._activation(parameters)(logits)[0])

    def result(self, pieces: Sequence[Piece], outputs: Sequence[Any], parameters: TextRankingParameters) -> Any:
        """Return the documents' places and scores, best first."""
        found = []
        for index in ranked(np.array(outputs), parameters.top_k):
            text = {"text": pieces[index].context} if parameters.return_documents else {}
            found.append({"corpus_id": index, "score": outputs[index], **text})
        return found

    def _activation(self, parameters: TextRankingParameters) -> Any:
        """Return what makes a score of a logit: as asked, as the checkpoint's files say, or else a sigmoid."""
        own = self.config.get("sentence_transformers") or {}
        former = self.config.get("sbert_ce_default_activation_function")
        named = (parameters.activation_fn, self.settings.activation, own.get("activation_fn"), former)
        return activation_of(next((name for name in named if name), "Sigmoid"))

    def _query_and_documents(self, item: Any, parameters: TextRankingParameters) -> tuple[str, Sequence[str]]:
        if isinstance(item, Mapping):
            if set(item) != set(_KEYS):
                raise UsageError(f"'{self.task}' expects {self.expects}, got a dict of {', '.join(map(repr, item))}")
            item, documents = (item[key] for key in _KEYS)
        else:
            documents = parameters.documents
        if isinstance(documents, str) or not isinstance(documents, Sequence):
            raise UsageError(f"'{self.task}' expects a list of documents, got {type(documents).__name__}")
        return self.text(item), documents
