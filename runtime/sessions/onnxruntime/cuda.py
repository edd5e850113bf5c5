"""ONNX Runtime on CUDA, by onnxruntime-gpu: CUDA computes the graph, or an error says what is missing."""

import contextlib
import importlib
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...errors import DependencyMissing, install_hint
from ..base import Session, Value
from ..opening import Opening
from ..telemetry import onnxruntime_module
from .cuda_graphs import GraphRuns, run_options
from .resident import Device
from .strict import StrictSession, option_texts, strict_options

_GRAPHS = "enable_cuda_graph"


class GpuWheelSession(StrictSession):
    """A graph on a provider that onnxruntime-gpu's wheel brings; `options` are the provider's, by ONNX Runtime's names.

    `provider` is its name, `remedy` what to do where it does not load, `device` where its outputs are. `modules` load,
    where they are installed, the libraries of their own packages, which the system's loader does not find.
    """

    provider: ClassVar[str]
    remedy: ClassVar[str]
    device: ClassVar[str] = "cuda"
    modules: ClassVar[Sequence[str]] = ()
    # Of runs whose outputs stay: their sizes change.
    _run_options: Any = None

    def __init__(
        self,
        path: Path,
        *,
        options: Mapping[str, Any],
        opening: Opening,
        load: Callable[[], Any] = onnxruntime_module,
        load_module: Callable[[str], Any] = importlib.import_module,
    ) -> None:
        ort = gpu_onnxruntime(self.provider, load=load)
        said = preload_libraries(ort)
        for name in self.modules:
            with contextlib.suppress(ImportError, OSError):
                load_module(name)
        super().__init__(
            path,
            provider=self.provider,
            options=strict_options(opening, ort=ort),
            provider_options=options,
            remedy=f"{self.remedy} {said}".strip(),
            ort=ort,
        )
        self._device = Device(self.device, self._bits, ort)

    def run_keeping(self, feeds: Mapping[str, Value], kept: Collection[str]) -> dict[str, Value]:
        session = self._opened()
        with self._explaining(feeds):
            return self._device.run(session, self._names, feeds, kept, self._run_options)

    def placed(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, Value]:
        with self._explaining(arrays):
            return {name: self._device.place(name, array) for name, array in arrays.items()}


class CudaSession(GpuWheelSession):
    """A graph on CUDA; with its option `enable_cuda_graph`, runs of the same shapes are replayed as CUDA graphs."""

    provider = "CUDAExecutionProvider"
    remedy = (
        "onnxruntime-gpu needs the libraries of the CUDA it was built for, and cuDNN 9: "
        "pip install 'onnxruntime-gpu[cuda,cudnn]'"
    )

    def __init__(self, path: Path, *, options: Mapping[str, Any], **others: Any) -> None:
        super().__init__(path, options=options, **others)
        self._graphs: GraphRuns | None = None
        if option_texts(options).get(_GRAPHS) == "1":
            self._graphs = GraphRuns(self._session, self._names, self._device)
            self._run_options = run_options(self._ort)

    def close(self) -> None:
        self._graphs = None  # they hold the session too
        super().close()

    def bind(self, feeds: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> Callable[[], None]:
        # Arrays of the host cannot be part of a CUDA graph.
        return super().bind(feeds, outputs) if self._graphs is None else Session.bind(self, feeds, outputs)

    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        graphs = self._graphs
        if graphs is None:
            return super()._run(feeds)
        with self._explaining(feeds):
            return graphs.run(feeds)


def gpu_onnxruntime(provider: str, *, load: Callable[[], Any]) -> Any:
    """Return ONNX Runtime's module; raise DependencyMissing unless its wheel was built with `provider`."""
    ort = load()
    built = ort.get_available_providers()
    if provider not in built:
        raise DependencyMissing(
            f"this onnxruntime was built without {provider} (it has {', '.join(built)}): "
            f"pip uninstall -y onnxruntime, then {install_hint('gpu')}"
        )
    return ort


def preload_libraries(ort: Any) -> str:
    """Load CUDA and cuDNN from pip's packages, where the system's loader does not look; return what failed.

    ONNX Runtime prints that; a library does not.
    """
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        ort.preload_dlls()
    return " ".join(printed.getvalue().split())
