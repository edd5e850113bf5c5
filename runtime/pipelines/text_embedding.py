"""text-embedding: one vector for each text, as `SentenceTransformer.encode` of sentence-transformers 6.2 gives it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np

from ..errors import UsageError
from ..graphs.signature import POOLED, VECTOR
from ..numerics import Row
from ..processing.text.arguments import count
from ..processing.vectors import PRECISIONS, SIMILARITIES, needs_ranges, normalized, quantized, ranges_of, rows_of
from .shared.base import Parameters
from .shared.pieces import Piece
from .shared.sentences import SentencePipeline

if TYPE_CHECKING:
    from ..loading import LoadedBundle

# The names of the prompt that each task takes, the first one that there is.
_PROMPTS = {"query": ("query",), "document": ("document", "passage", "corpus")}


@dataclass(frozen=True)
class TextEmbeddingParameters(Parameters):
    """The arguments of `encode`; `ranges` [2, size] are those of int8 and uint8 where the texts are not to give them.

    `truncate_dim` keeps the first numbers of each vector; with `normalize_embeddings` what is left has length 1.
    """

    prompt_name: str | None = None
    prompt: str | None = None
    truncate_dim: int | None = None
    normalize_embeddings: bool = False
    precision: str = "float32"
    ranges: Any = None
    task: str | None = None

    def __post_init__(self) -> None:
        if self.truncate_dim is not None:
            count(self.truncate_dim, name="truncate_dim", least=1)
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        if self.task is not None and self.task not in _PROMPTS:
            raise UsageError(f"task must be one of {', '.join(_PROMPTS)}, got {self.task!r}")
        if self.ranges is not None:
            _check_ranges(self.ranges)


class TextEmbeddingPipeline(SentencePipeline[np.ndarray, np.ndarray]):
    """`(texts, *, prompt_name=None, prompt=None, truncate_dim=None, normalize_embeddings=False, ...)` -> numpy arrays.

    One text gives [size], a list of them [texts, size], any other iterable each text's vector in turn; float32, or the
    numbers of another `precision`.
    """

    if TYPE_CHECKING:

        @overload
        def __call__(self, inputs: str | list[str], *args: Any, **options: Any) -> np.ndarray: ...
        @overload
        def __call__(self, inputs: Any = None, *args: Any, **options: Any) -> Any: ...
        def __call__(self, inputs: Any = None, *args: Any, **options: Any) -> Any: ...  # pyright: ignore[reportIncompatibleMethodOverride]

    parameters = TextEmbeddingParameters
    own_prompts: ClassVar[Mapping[str, str]] = {"query": "", "document": ""}

    def __init__(self, loaded: "LoadedBundle", *, task: str, **options: Any) -> None:
        super().__init__(loaded, task=task, **options)
        self._prompt_lengths: dict[str, int] = {}

    def encode_query(self, inputs: Any, **options: Any) -> Any:
        """Return the vectors of queries: with the prompt "query", and by the query's route of a router."""
        return self(inputs, **self._of("query", options))

    def encode_document(self, inputs: Any, **options: Any) -> Any:
        """Return the vectors of documents: with the prompt "document", and by the document's route of a router."""
        return self(inputs, **self._of("document", options))

    def similarity(self, one: Any, other: Any) -> np.ndarray:
        """Return how alike vectors are, float32 [rows of one, rows of other], by the checkpoint's function."""
        return SIMILARITIES[self.similarity_fn_name](rows_of(one), rows_of(other))

    def similarity_pairwise(self, one: Any, other: Any) -> np.ndarray:
        """Return how alike the vectors of each pair are, float32 [rows]."""
        ours, others = rows_of(one), rows_of(other)
        if len(ours) != len(others):
            raise UsageError(
                f"similarity_pairwise expects as many vectors on both sides, got {len(ours)} and {len(others)}"
            )
        pairs = zip(ours, others, strict=True)
        return np.array([self.similarity(*pair)[0, 0] for pair in pairs], np.float32)

    @property
    def similarity_fn_name(self) -> str:
        """Which function compares its vectors: "cosine", "dot", "euclidean" or "manhattan"."""
        return self.settings.similarity

    @property
    def prompts(self) -> Mapping[str, str]:
        """Its prompts by name."""
        return self.settings.prompts

    def arranged(self, inputs: Any, parameters: TextEmbeddingParameters) -> tuple[Any, Any]:
        """Return both as they are; raise UsageError where nothing gives the ranges of the numbers."""
        if needs_ranges(parameters.precision) and parameters.ranges is None and not isinstance(inputs, (list, tuple)):
            ranges_of(np.zeros((1, 1)), parameters.precision)
        return inputs, parameters

    def pieces(self, item: Any, parameters: TextEmbeddingParameters) -> Iterator[Piece]:
        """Yield the tokens of the prompt and the text."""
        prompt = self.settings.prompt(parameters.prompt, parameters.prompt_name)
        row = self.row(self.encoded(prompt + self.text(item), task=parameters.task))
        if prompt and POOLED in row:
            row[POOLED][: self._prompt_length(prompt)] = 0
        yield Piece(row)

    def kept(self, piece: Piece, row: Row, parameters: TextEmbeddingParameters) -> np.ndarray:  # noqa: ARG002 - the same for all
        """Return the vector that the graph has for the task, float32."""
        own = f"{VECTOR}_{parameters.task}"
        return row[own if own in row else VECTOR].astype(np.float32)

    def result(self, pieces: Sequence[Piece], outputs: Sequence[Any], parameters: TextEmbeddingParameters) -> Any:  # noqa: ARG002 - one text is one piece
        """Return the vector, shortened, scaled and with fewer bits as asked."""
        vector = self._shortened(outputs[0], parameters)
        if needs_ranges(parameters.precision) and parameters.ranges is None:
            return vector  # the whole list gives the ranges
        return self._quantized(vector, parameters)

    def collected(self, results: list[Any], parameters: TextEmbeddingParameters) -> np.ndarray:
        """Return the vectors of a list of texts as one array."""
        if not results:
            size = next(each.axes[-1] for each in self.loaded.signature.outputs if each.name == VECTOR)
            return np.zeros((0, int(size)), np.float32)
        vectors = np.stack(results)
        if needs_ranges(parameters.precision) and parameters.ranges is None:
            return quantized(vectors, parameters.precision, ranges_of(vectors, parameters.precision))
        return vectors

    def _quantized(self, vectors: np.ndarray, parameters: TextEmbeddingParameters) -> np.ndarray:
        ranges = parameters.ranges
        if ranges is not None and np.shape(ranges)[-1] != vectors.shape[-1]:
            raise UsageError(f"ranges must be [2, {vectors.shape[-1]}], got {list(np.shape(ranges))}")
        return quantized(vectors, parameters.precision, None if ranges is None else np.asarray(ranges))

    def _shortened(self, vector: np.ndarray, parameters: TextEmbeddingParameters) -> np.ndarray:
        size = self.settings.truncate_dim if parameters.truncate_dim is None else parameters.truncate_dim
        vector = vector[:size]
        return normalized(vector) if parameters.normalize_embeddings else vector

    def _of(self, task: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of a call for a task, with its prompt unless the call or the pipeline has one."""
        given = [values.get(name) for values in (options, vars(self.options)) for name in ("prompt", "prompt_name")]
        named = next((name for name in _PROMPTS[task] if name in self.prompts), None)
        prompt = {"prompt_name": named} if named is not None and all(each is None for each in given) else {}
        return {**options, **prompt, "task": task}

    def _prompt_length(self, prompt: str) -> int:
        """Return how many tokens a prompt has at the beginning of a text: all but a special one at its end."""
        if prompt not in self._prompt_lengths:
            ids = self.encoded(prompt)["input_ids"][0]
            self._prompt_lengths[prompt] = len(ids) - bool(len(ids) and int(ids[-1]) in self.tokenizer.all_special_ids)
        return self._prompt_lengths[prompt]


def _check_ranges(ranges: Any) -> None:
    """Raise UsageError for what is not a least and a greatest value of each place."""
    try:
        shape = np.asarray(ranges, np.float32).shape
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"ranges must be numbers, [2, size], got {ranges!r:.60}") from error
    if len(shape) != 2 or shape[0] != 2:
        raise UsageError(f"ranges must be [2, size], got {list(shape)}")
