"""A native TensorRT engine, run without torch by the release that built it, on a GPU that it was built for."""

import importlib
import weakref
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from ...bundle.builders import BUILDERS
from ...bundle.digests import cache_folder
from ...bundle.engines import Engine, Shape, read_sidecar, shapes_fit
from ...errors import EnvironmentMissing, UsageError
from ..base import Session, Value, on_host
from ..opening import Opening
from ..pool import Pool, PoolClosed
from .device_memory import DeviceArray, DeviceMemory
from .driver import CudaDriver, Driver
from .engine_file import Opened, open_engine
from .execution import Execution
from .runtime_cache import RuntimeCache

_MOST = 4  # runs at a time; each holds the activations of one


class EngineSession(Session):
    """An engine, whose sidecar lies beside it.

    It is warm when it is open: each set of ranges has run once at its tuned shapes. Each run has a context, a stream
    and buffers of its own; a few run at a time, more wait.

    Parameters
    ----------
    path
        The `.engine` file.
    options, opening
        What every backend takes. An engine was built with its options, and computes nothing on the CPU.
    driver, load, cache
        The GPU, what imports TensorRT, and the folder of runtime caches (default: in the user's cache).

    Raises
    ------
    EnvironmentMissing, DependencyMissing, IntegrityError, UnsupportedError
        The driver is missing, or as `open_engine` and the driver raise.

    """

    def __init__(
        self,
        path: Path,
        *,
        options: Mapping[str, Any],  # noqa: ARG002
        opening: Opening,  # noqa: ARG002
        driver: Callable[[], Driver] = CudaDriver,
        load: Callable[[str], Any] = importlib.import_module,
        cache: Path | None = None,
    ) -> None:
        engine = read_sidecar(path.with_suffix(".json"))
        # An engine whose sizes are all fixed has no set of ranges, and one optimization profile.
        self._ranges = engine.shapes or {"fixed": {}}
        super().__init__(
            graph=f"{path.parent.name}/{path.name}",
            inputs=engine.inputs,
            outputs=engine.outputs,
            providers=(engine.builder,),
        )
        with ExitStack() as stack:
            gpu = driver()
            stack.callback(gpu.close)
            opened = open_engine(engine, path, gpu, load=load)
            self._memory = DeviceMemory(gpu)
            stack.callback(self._memory.close)
            self._pool = _pool(engine, opened, gpu, self._memory, stack, cache or cache_folder("tensorrt"))
            self._warm_up()
            # Also where nobody closes it: Python does not know the GPU's memory.
            self._close = weakref.finalize(self, stack.pop_all().close)

    def assignments(self) -> dict[str, dict[str, int]]:
        return {self.providers[0]: {"engine": 1}}

    def close(self) -> None:
        self._close()

    def run_keeping(self, feeds: Mapping[str, Value], kept: Collection[str]) -> dict[str, Value]:
        given = {name: value if isinstance(value, DeviceArray) else on_host(value) for name, value in feeds.items()}
        return self._run_within(self._range_set(given), given, kept)

    def placed(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, Value]:
        return {name: self._memory.placed(array) for name, array in arrays.items()}

    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        made = self._run_within(self._range_set(feeds), feeds)
        return {name: on_host(value) for name, value in made.items()}

    def _run_within(self, profile: int, feeds: Mapping[str, Value], kept: Collection[str] = ()) -> dict[str, Value]:
        try:
            with self._pool.lent() as execution:
                return execution.run(profile, feeds, kept)
        except PoolClosed as error:
            raise UsageError(f"the session on graph '{self.graph}' is closed: open it again") from error

    def _warm_up(self) -> None:
        for profile, shapes in enumerate(self._ranges.values()):
            tuned = {name: three[1] for name, three in shapes.items()}
            sizes = {one.name: [int(size) for size in tuned.get(one.name, one.axes)] for one in self.inputs}
            zeros = {one.name: np.zeros(sizes[one.name], one.array_dtype) for one in self.inputs}
            self._run_within(profile, zeros)

    def _range_set(self, feeds: Mapping[str, np.ndarray | DeviceArray]) -> int:
        """Return the first set of ranges that holds these sizes: its number is that of the optimization profile."""
        sizes = {name: array.shape for name, array in feeds.items()}
        for profile, shapes in enumerate(self._ranges.values()):
            if shapes_fit(shapes, sizes):
                return profile
        raise self._misfit(sizes)

    def _misfit(self, sizes: Mapping[str, Shape]) -> UsageError:
        sets = self._ranges
        nowhere = [
            name for name, size in sizes.items() if not any(shapes_fit(one, {name: size}) for one in sets.values())
        ]
        first = [name for name, size in sizes.items() if not shapes_fit(next(iter(sets.values())), {name: size})]
        name = (nowhere or first)[0]
        held = [f"{label} {list(one[name][0])} to {list(one[name][2])}" for label, one in sets.items() if name in one]
        return UsageError(
            f"input '{name}' of graph '{self.graph}': got {list(sizes[name])}, which no set of ranges allows together "
            f"with the other inputs ({'; '.join(held)}). Keep to one of them, or build the engine with others: "
            "vitrify build-engine … --shapes AXIS=…"
        )


def _pool(
    engine: Engine, opened: Opened, gpu: Driver, memory: DeviceMemory, stack: ExitStack, cache: Path
) -> Pool[Execution]:
    """Return the pool of the engine's executions; `stack` frees it, then what it needs."""
    arguments = []
    if BUILDERS[engine.builder].compiles:
        kept = RuntimeCache(opened.engine, cache / f"{engine.sha256}.cache")
        stack.callback(kept.close)
        arguments = [kept.config]

    def make() -> Execution:
        context = opened.engine.create_execution_context(*arguments)
        if context is None:
            raise EnvironmentMissing(f"{gpu.name} has no room for another run of '{engine.name}': {opened.said()}")
        return Execution(context, gpu, inputs=engine.inputs, outputs=engine.outputs, memory=memory, said=opened.said)

    pool = Pool(make, most=_MOST)
    stack.callback(pool.close)
    return pool
