"""A session on a graph that others compiled, with the signature that the runtime knows; it opens nothing.

Axes have the runtime's names, numbers in half precision are float32 outside (a cache's stay), and a mask of padding
that the graph would misread is no input any more.
"""

from collections.abc import Sequence

import numpy as np

from ..bundle.manifest import Graph
from ..generation.decoders.growing import PAST
from .base import Session, Tensor

MASK = "attention_mask"


class ForeignSession(Session):
    """Another session behind a signature of the same names."""

    def __init__(self, session: Session, graph: Graph, *, skips_padding: bool = False) -> None:
        """Wrap `session`, whose signature is `graph` in the runtime's words.

        With `skips_padding` rows must begin at their first token, so the mask is made here: all ones.
        """
        masks = any(tensor.name == MASK for tensor in graph.inputs)
        self._makes_mask = skips_padding and masks
        kept = tuple(tensor for tensor in graph.inputs if not (self._makes_mask and tensor.name == MASK))
        super().__init__(
            graph=session.graph,
            inputs=kept,
            outputs=graph.outputs,
            providers=session.providers,
            optional=session.optional,
        )
        self._session = session
        self._narrowed = _halves(session.inputs, graph.inputs)
        self._widened_outputs = _halves(session.outputs, graph.outputs)
        self._past = next((tensor.name for tensor in graph.inputs if tensor.name.startswith(PAST)), None)

    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {name: value.astype(np.float16) if name in self._narrowed else value for name, value in feeds.items()}
        if self._makes_mask:
            past = given[self._past].shape[2] if self._past else 0
            rows, new = given["input_ids"].shape
            given[MASK] = np.ones((rows, past + new), np.int64)
        made = self._session.run(given, checked=False)
        return {
            name: value.astype(np.float32) if name in self._widened_outputs else value for name, value in made.items()
        }

    def assignments(self) -> dict[str, dict[str, int]]:
        return self._session.assignments()

    def close(self) -> None:
        self._session.close()


def _halves(own: Sequence[Tensor], shown: Sequence[Tensor]) -> frozenset[str]:
    """Return the names of the tensors that are float16 in the graph and float32 outside."""
    outside = {tensor.name: tensor.dtype for tensor in shown}
    return frozenset(
        tensor.name for tensor in own if tensor.dtype == "float16" and outside.get(tensor.name) == "float32"
    )
