"""A loaded bundle whose graphs run in a server's executor, piece by piece, whoever calls them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Self

import numpy as np

from ..runtime.loading import LoadedBundle
from ..runtime.numerics import Row
from ..runtime.pipelines.shared.batching import BUDGETS
from ..runtime.sessions.base import Session, Value
from .executor import Executor

_MOST_ROWS = 64


class SharedBundle(LoadedBundle):
    """A bundle that many requests use at a time; rows of several share a run where that changes no result."""

    executor: Executor
    most: int
    budget: int | None

    @classmethod
    def of(cls, loaded: LoadedBundle, executor: Executor) -> Self:
        """Return the bundle as `executor` runs it; its graphs are opened anew."""
        shared = cls(loaded.bundle, profile=loaded.choice, threads=loaded.threads)
        shared.executor = executor
        shared.most = 1 if loaded.profile.mixes_rows else _MOST_ROWS
        shared.budget = BUDGETS.get(loaded.profile.provider)
        return shared

    def new_session(self, graph: str, *, record: bool = False) -> Session:
        """Return a session of which each run is a piece of the executor."""
        return TurnSession(super().new_session(graph, record=record), self.executor)

    def run_rows(self, rows: Sequence[Row]) -> list[Row]:
        """Run rows when it is their turn, with those of other requests where that changes no result."""
        if self.most == 1:
            return [self._run_rows([row])[0] for row in rows]
        return self._run_rows(rows)

    def run_now(self, rows: Sequence[Row]) -> list[Row]:
        """Run rows as one batch; the executor calls it."""
        return super().run_rows(rows)

    def _run_rows(self, rows: Sequence[Row]) -> list[Row]:
        return self.executor.run_rows(self, rows, [len(row.get("input_ids", ())) for row in rows])


class TurnSession(Session):
    """Another session, whose every run waits for its turn."""

    def __init__(self, session: Session, executor: Executor) -> None:
        super().__init__(
            graph=session.graph,
            inputs=session.inputs,
            outputs=session.outputs,
            providers=session.providers,
            optional=session.optional,
        )
        self._session, self._executor = session, executor

    def run(self, feeds: dict[str, np.ndarray], *, checked: bool = True) -> dict[str, np.ndarray]:
        return self._executor.run(partial(self._session.run, feeds, checked=checked))

    def run_keeping(self, feeds: Mapping[str, Value], kept: Collection[str]) -> dict[str, Value]:
        return self._executor.run(partial(self._session.run_keeping, feeds, kept))

    def placed(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, Value]:
        return self._session.placed(arrays)

    def bind(self, feeds: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> Callable[[], None]:
        return partial(self._executor.run, self._session.bind(feeds, outputs))

    def assignments(self) -> dict[str, dict[str, int]]:
        return self._session.assignments()

    def close(self) -> None:
        self._session.close()

    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._session.run(feeds, checked=False)
