"""ONNX Runtime on CUDA, by onnxruntime-gpu: CUDA computes the graph, or an error says what is missing.

It has not run on a GPU yet.
"""

import contextlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import DependencyMissing
from ..machine import Machine
from .ort import onnxruntime_module
from .strict import StrictSession, strict_options

_PROVIDER = "CUDAExecutionProvider"
_REMEDY = (
    "onnxruntime-gpu needs the libraries of the CUDA it was built for, and cuDNN 9: "
    "pip install 'onnxruntime-gpu[cuda,cudnn]'"
)


class CudaSession(StrictSession):
    """A graph on CUDA; `options` are the CUDA provider's, by ONNX Runtime's names."""

    def __init__(
        self,
        path: Path,
        *,
        options: Mapping[str, Any],
        threads: int | None,
        machine: Machine,  # noqa: ARG002 - the driver knows the GPU better
        load: Callable[[], Any] = onnxruntime_module,
    ) -> None:
        ort = gpu_onnxruntime(_PROVIDER, load=load)
        said = preload_libraries(ort)
        super().__init__(
            path,
            provider=_PROVIDER,
            options=strict_options(threads=threads, ort=ort),
            provider_options=options,
            remedy=f"{_REMEDY} {said}".strip(),
            ort=ort,
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
