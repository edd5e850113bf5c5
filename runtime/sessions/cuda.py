"""ONNX Runtime on CUDA, by onnxruntime-gpu: CUDA computes the graph, or an error says what is missing.

It has not run on a GPU yet.
"""

import contextlib
import importlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ..errors import DependencyMissing
from ..machine import Machine
from .ort import onnxruntime_module
from .strict import StrictSession, strict_options


class GpuWheelSession(StrictSession):
    """A graph on a provider that onnxruntime-gpu's wheel brings; `options` are the provider's, by ONNX Runtime's names.

    `provider` is its name, `remedy` what to do where it does not load. `modules` load, where they are installed, the
    libraries of their own packages, which the system's loader does not find.
    """

    provider: ClassVar[str]
    remedy: ClassVar[str]
    modules: ClassVar[Sequence[str]] = ()

    def __init__(
        self,
        path: Path,
        *,
        options: Mapping[str, Any],
        threads: int | None,
        machine: Machine,  # noqa: ARG002 - the driver knows the GPU better
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
            options=strict_options(threads=threads, ort=ort),
            provider_options=options,
            remedy=f"{self.remedy} {said}".strip(),
            ort=ort,
        )


class CudaSession(GpuWheelSession):
    """A graph on CUDA."""

    provider = "CUDAExecutionProvider"
    remedy = (
        "onnxruntime-gpu needs the libraries of the CUDA it was built for, and cuDNN 9: "
        "pip install 'onnxruntime-gpu[cuda,cudnn]'"
    )


def gpu_onnxruntime(provider: str, *, load: Callable[[], Any]) -> Any:
    """Return ONNX Runtime's module; raise DependencyMissing unless its wheel was built with `provider`."""
    ort = load()
    built = ort.get_available_providers()
    if provider not in built:
        raise DependencyMissing(
            f"this onnxruntime was built without {provider} (it has {', '.join(built)}): "
            "pip uninstall -y onnxruntime, then pip install 'vitrify[gpu]'"
        )
    return ort


def preload_libraries(ort: Any) -> str:
    """Load CUDA and cuDNN from pip's packages, where the system's loader does not look; return what failed.

    ONNX Runtime prints that; a library does not.
    """
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        ort.preload_dlls()
    return " ".join(printed.getvalue().split())
