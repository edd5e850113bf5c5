"""NVIDIA's TensorRT-RTX plugin provider: TensorRT-RTX computes the graph, or an error says what is missing.

The plugin brings its own TensorRT-RTX and loads into any ONNX Runtime.
"""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...bundle.builders import BUILDERS
from ...errors import DependencyMissing, EnvironmentMissing
from ..opening import Opening
from ..telemetry import onnxruntime_module
from ..tensorrt.driver import CudaDriver, Driver
from .plugins import plugin_device
from .strict import StrictSession, option_texts, strict_options

_PROVIDER = "NvTensorRTRTXExecutionProvider"
_MODULE = "onnxruntime_ep_nv_tensorrt_rtx"
_INSTALL = "pip install onnxruntime-ep-nv-tensorrt-rtx-cu13"
_INSTEAD = "Use a profile on cuda, or cpu-fp32"
_BUILDER = "tensorrt-rtx"


class OrtTensorRtRtxSession(StrictSession):
    """A graph on the TensorRT-RTX plugin; `options` are the provider's, such as `nv_max_workspace_size`."""

    def __init__(
        self,
        path: Path,
        *,
        options: Mapping[str, Any],
        opening: Opening,
        load: Callable[[], Any] = onnxruntime_module,
        load_plugin: Callable[[str], Any] = importlib.import_module,
        driver: Callable[[], Driver] = CudaDriver,
    ) -> None:
        _check_gpu(driver)
        ort = load()
        own = strict_options(opening, ort=ort)
        own.add_provider_for_devices([_device(ort, load_plugin)], option_texts(options))
        super().__init__(path, provider=_PROVIDER, options=own, remedy=_INSTEAD, ort=ort)


def _check_gpu(driver: Callable[[], Driver]) -> None:
    gpu = driver()
    try:
        name, capability = gpu.name, gpu.capability
    finally:
        gpu.close()
    taken = BUILDERS[_BUILDER].plugin
    if taken is None or not taken.has(capability):
        raise EnvironmentMissing(
            f"the TensorRT-RTX provider runs on compute capability 8.6, 8.9 and 12.0 or newer; {name} has "
            f"{capability[:-1]}.{capability[-1]}. {_INSTEAD}"
        )


def _device(ort: Any, load_plugin: Callable[[str], Any]) -> Any:
    try:
        library = load_plugin(_MODULE).get_library_path()
    except ImportError as error:
        raise DependencyMissing(f"the TensorRT-RTX provider is not installed ({error}): {_INSTALL}") from error
    try:
        device = plugin_device(ort, provider=_PROVIDER, registration=_PROVIDER, library=library, kind="GPU")
    except Exception as error:
        said = " ".join(str(error).split())
        raise EnvironmentMissing(f"the TensorRT-RTX provider does not load ({said}). {_INSTEAD}") from error
    if device is None:
        raise EnvironmentMissing(f"the TensorRT-RTX provider offers no GPU of this machine. {_INSTEAD}")
    return device
