"""OpenVINO's plugin provider on the CPU, in bfloat16: nothing is left to another provider or precision.

The plugin loads into the stock ONNX Runtime. It takes bfloat16 by itself where the CPU has it, so a profile says the
precision. It looks up an id beyond a table as zeros, without an error: who makes ids checks them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import EnvironmentMissing
from ..machine import Machine
from .ort import OrtSession, onnxruntime_module, session_options
from .plugins import plugin_device

_PROVIDER = "OpenVINOExecutionProvider"
_REGISTRATION = "vitrify.openvino"
_BF16 = (frozenset({"amx_bf16"}), frozenset({"intel", "avx512_bf16"}))


class OpenVinoSession(OrtSession):
    """A graph on OpenVINO's CPU plugin; `options` are OpenVINO's properties, such as `INFERENCE_PRECISION_HINT`."""

    def __init__(self, path: Path, *, options: Mapping[str, Any], threads: int | None, machine: Machine) -> None:
        if options.get("INFERENCE_PRECISION_HINT") == "bf16" and not machine.has_any(_BF16):
            raise EnvironmentMissing(
                f"this CPU ({machine.model_name}) is no Intel one with AMX-BF16 or AVX512-BF16, so OpenVINO would "
                "emulate bfloat16, slower than float32: use the profile cpu-fp32 or cpu-int8"
            )
        device = _cpu_device(onnxruntime_module())
        own = session_options(threads=threads, entries={"session.disable_cpu_ep_fallback": "1"})
        own.add_provider_for_devices([device], {"load_config": _load_config(options, own.intra_op_num_threads)})
        super().__init__(path, options=own)
        # ONNX Runtime lists its CPU provider too; without the fallback it runs no node.
        self.providers = (_PROVIDER,)


def _load_config(options: Mapping[str, Any], threads: int) -> str:
    import json

    return json.dumps({"CPU": {"INFERENCE_NUM_THREADS": threads, **options}})


def _cpu_device(ort: Any) -> Any:
    """Return the plugin's CPU device."""
    import onnxruntime_ep_openvino

    library = onnxruntime_ep_openvino.get_library_path()
    device = plugin_device(ort, provider=_PROVIDER, registration=_REGISTRATION, library=library, kind="CPU")
    if device is None:
        raise EnvironmentMissing(
            "OpenVINO's plugin offers no device for this CPU (it runs on Intel's): use the profile cpu-fp32 or cpu-int8"
        )
    return device
