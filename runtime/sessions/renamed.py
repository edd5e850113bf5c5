"""A session on another tool's graph, with the signature that the runtime knows; it opens nothing.

Axes have the runtime's names, numbers in half precision are float32 outside (a cache's stay), and a mask of padding
that the graph would misread is no input any more.
"""

from collections.abc import Sequence

import numpy as np

from ..graphs.signature import MASK, TOKENS, Tensor, View, states_of
from .base import Session


class RenamedSession(Session):
    """Another session behind a signature of the same names."""

    def __init__(self, session: Session, view: View) -> None:
        """Wrap `session`, which the runtime sees as `view`.

        Where it skips padding, rows must begin at their first token, so the mask is made here: all ones.
        """
        graph = view.graph
        masks = any(tensor.name == MASK for tensor in graph.inputs)
        self._makes_mask = view.skips_padding and masks
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
        self._past = next(iter(states_of(graph.inputs)), None)

    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {name: value.astype(np.float16) if name in self._narrowed else value for name, value in feeds.items()}
        if self._makes_mask:
            past = given[self._past].shape[2] if self._past else 0
            rows, new = given[TOKENS].shape
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
