"""ONNX Runtime's TensorRT provider, by onnxruntime-gpu: TensorRT computes the graph, or an error says what is missing.

It builds its engines when a session opens or first runs, which takes seconds to minutes. It has not run on a GPU yet.
"""

import contextlib
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..machine import Machine
from .cuda import gpu_onnxruntime, preload_libraries
from .ort import onnxruntime_module
from .strict import StrictSession, strict_options

_PROVIDER = "TensorrtExecutionProvider"
_REMEDY = (
    "onnxruntime-gpu links libnvinfer.so.10, so TensorRT 11 does not serve it: pip install 'tensorrt-cu13==10.16.*' "
    "'onnxruntime-gpu[cuda,cudnn]'"
)


class OrtTensorRtSession(StrictSession):
    """A graph on ONNX Runtime's TensorRT provider; `options` are the provider's, such as `trt_engine_cache_enable`."""

    def __init__(
        self,
        path: Path,
        *,
        options: Mapping[str, Any],
        threads: int | None,
        machine: Machine,  # noqa: ARG002 - the driver knows the GPU better
        load: Callable[[], Any] = onnxruntime_module,
        load_tensorrt: Callable[[str], Any] = importlib.import_module,
    ) -> None:
        ort = gpu_onnxruntime(_PROVIDER, load=load)
        said = preload_libraries(ort)
        # TensorRT's module loads the libraries of its own package, which the system's loader does not find.
        with contextlib.suppress(ImportError, OSError):
            load_tensorrt("tensorrt")
        super().__init__(
            path,
            provider=_PROVIDER,
            options=strict_options(threads=threads, ort=ort),
            provider_options=options,
            remedy=f"{_REMEDY} {said}".strip(),
            ort=ort,
        )
