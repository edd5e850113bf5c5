"""CUDA graphs of ONNX Runtime: the kernels of a run are recorded once for its shapes, then launched together.

A graph reads and writes fixed addresses, so each set of input shapes has values of its own on the GPU.
"""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np

from .bfloat16 import run_bits
from .resident import Device

# Each holds the inputs, the outputs and the activations of its shapes; sizes beyond run without a graph.
MOST = 8
_ID, _NO_GRAPH = "gpu_graph_id", -1


def run_options(ort: Any, graph: int = _NO_GRAPH) -> Any:
    """Return the RunOptions of a run that is recorded and replayed under a number, or of one that is not."""
    options = ort.RunOptions()
    options.add_run_config_entry(_ID, str(graph))
    return options


class GraphRuns:
    """Runs of a session that was opened with `enable_cuda_graph`; threads take turns. `names` are the outputs."""

    def __init__(self, session: Any, names: Sequence[str], device: Device) -> None:
        self._session, self._names, self._device = session, names, device
        self._recorded: dict[tuple[Any, ...], _Recorded] = {}
        self._lock = Lock()

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs of a run; the first of its shapes also runs without a graph, which shows their sizes."""
        shapes = tuple((name, array.shape) for name, array in sorted(feeds.items()))
        with self._lock:
            if shapes in self._recorded:
                return self._recorded[shapes].run(feeds)
            made = self._plain(feeds)
            if len(graphs := self._recorded) < MOST:
                graphs[shapes] = _Recorded(self._session, feeds, made, self._device, graph=len(graphs))
            return made

    def _plain(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        ort = self._device.ort
        return run_bits(
            self._session, self._names, feeds, bits=self._device.bits, ort=ort, run_options=run_options(ort)
        )


class _Recorded:
    """A graph with the values that it reads and writes, of the shapes of a run's."""

    def __init__(
        self,
        session: Any,
        feeds: Mapping[str, np.ndarray],
        made: Mapping[str, np.ndarray],
        device: Device,
        *,
        graph: int,
    ) -> None:
        self._session, self._options = session, run_options(device.ort, graph)
        self._inputs, self._outputs = (
            {name: device.place(name, array) for name, array in side.items()} for side in (feeds, made)
        )
        self._binding = session.io_binding()
        for name, resident in self._inputs.items():
            self._binding.bind_ortvalue_input(name, resident.value)
        for name, resident in self._outputs.items():
            self._binding.bind_ortvalue_output(name, resident.value)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name, array in feeds.items():
            self._inputs[name].update(array)
        self._session.run_with_iobinding(self._binding, self._options)
        return {name: resident.numpy() for name, resident in self._outputs.items()}
