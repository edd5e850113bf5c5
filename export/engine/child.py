"""The process that builds one engine: a request in JSON on stdin, the engine and a report in JSON to open files.

It is a child because the builder is native code that may run out of memory or of time, or crash. It knows TensorRT's
Python API, which `tensorrt` and `tensorrt_rtx` share, and nothing of bundles. It works in the graph's folder and knows
no path beyond: how long a path is would show in an engine's bytes.
"""

import collections
import ctypes
import hashlib
import importlib
import json
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_KERNEL = re.compile(r"^Name: (\S.*?), LayerType: (\w+), (.*)$", re.MULTILINE)
_DATATYPE = re.compile(r"Datatype: (\w+)")
_ATTENTION = "_mha_v"
_HALVES = ("Half", "BFloat16")
_REASONS = 4
_CURRENT, _NO_RANDOM_ADDRESSES = 0xFFFFFFFF, 0x0040000
_STARTED_AGAIN = "VITRIFY_ENGINE_CHILD"


def build(trt: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Build the engine that the request describes, write it to the file `request["engine"]`, and return the report.

    Parameters
    ----------
    trt
        The module, `tensorrt` or `tensorrt_rtx`.
    request
        `graph` is a file's name, `engine` an open file's number; `target` names a compute capability of the module, or
        is None; `stripped` leaves weights out; `shapes` are sets of smallest, tuned and largest shapes by input;
        `inputs` and `outputs` the dtypes that the engine must keep.

    """
    log = _log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(_strong_typing(trt))
    parser = trt.OnnxParser(network, log)
    start = time.perf_counter()
    if not parser.parse_from_file(request["graph"]):
        return {"stage": "parse", "reasons": [_parse_error(parser.get_error(i)) for i in range(parser.num_errors)]}
    report: dict[str, Any] = {"parse_seconds": _since(start), "layers": network.num_layers}
    if changed := _changed_dtypes(network, request):
        return {**report, "stage": "parse", "reasons": changed}
    _let_attention_decompose(trt, network)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if request["target"]:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, request["target"]), 0)
    if request["stripped"]:
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
    for shapes in request["shapes"]:
        if not _add_profile(builder, config, shapes):
            return {**report, "stage": "ranges", "reasons": log.reasons()}
    start = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    report["build_seconds"] = _since(start)
    if plan is None:
        return {**report, "stage": "build", "reasons": log.reasons()}
    data = bytes(memoryview(plan))
    _write(request["engine"], data)
    return {**report, "stage": "done", "reasons": [], **_measured(data, "\n".join(log.said), len(request["shapes"]))}


def _log(trt: Any) -> Any:
    severity = trt.ILogger.Severity

    class Log(trt.ILogger):
        """Keeps everything that is said: the list of kernels comes only here."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.said: list[str] = []
            self.errors: list[str] = []

        def log(self, level: Any, text: str) -> None:
            self.said.append(text)
            if level <= severity.ERROR:
                self.errors.append(text)

        def reasons(self) -> list[dict[str, str]]:
            lines = [" ".join(text.split()) for text in self.errors] or ["the builder gave no reason"]
            return [{"why": line} for line in dict.fromkeys(lines[-_REASONS:])]

    return Log()


def _strong_typing(trt: Any) -> int:
    """Return the flag that keeps the graph's own types; newer releases know no other way and lack it."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _parse_error(error: Any) -> dict[str, str]:
    return {
        "node": error.node_name(),
        "operator": error.node_operator(),
        "why": f"{str(error.code()).rpartition('.')[2]}: {error.desc().splitlines()[0]}",
    }


def _changed_dtypes(network: Any, request: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a reason for each tensor whose dtype the parser changed: it says nothing itself."""
    sides = (
        (request["inputs"], [network.get_input(i) for i in range(network.num_inputs)]),
        (request["outputs"], [network.get_output(i) for i in range(network.num_outputs)]),
    )
    return [
        {"why": f"'{tensor.name}' is {wanted[tensor.name]} in the graph and became {_dtype(tensor)} in the engine"}
        for wanted, tensors in sides
        for tensor in tensors
        if wanted.get(tensor.name) != _dtype(tensor)
    ]


def _dtype(tensor: Any) -> str:
    names = {"float": "float32", "half": "float16", "bf16": "bfloat16"}
    name = str(tensor.dtype).rpartition(".")[2].lower()
    return names.get(name, name)


def _let_attention_decompose(trt: Any, network: Any) -> None:
    """Let opset 23's Attention fall apart where no kernel has its type, as in float32."""
    kind = getattr(trt.LayerType, "ATTENTION_INPUT", None)
    for index in range(network.num_layers if kind is not None else 0):
        layer = network.get_layer(index)
        if layer.type == kind:
            layer.__class__ = trt.IAttentionInputLayer
            layer.attention.decomposable = True


def _add_profile(builder: Any, config: Any, shapes: Mapping[str, Any]) -> bool:
    profile = builder.create_optimization_profile()
    for name, (low, best, high) in shapes.items():
        profile.set_shape(name, tuple(low), tuple(best), tuple(high))
    return config.add_optimization_profile(profile) >= 0


def _measured(data: bytes, said: str, sets: int) -> dict[str, Any]:
    """Return what the engine and the builder's log say of it; a kernel is listed once for each set of ranges."""
    kernels = _KERNEL.findall(said)
    outputs = (rest.rpartition("Outputs:")[2] for _, _, rest in kernels)
    types = collections.Counter(name for text in outputs for name in _DATATYPE.findall(text))
    half = sum(types[name] for name in _HALVES)
    return {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "kernels": len(kernels),
        "fused_attention": sum(_ATTENTION in name for name, _, _ in kernels) // max(1, sets),
        "half_share": round(half / max(1, half + types["Float"]), 4),
        "activation_bytes": _largest(r"Total Activation Memory: (\d+)", said),
        "weight_bytes": _largest(r"Total Weights Memory: (\d+)", said),
    }


def _largest(pattern: str, said: str) -> int:
    return max(map(int, re.findall(pattern, said)), default=0)


def _write(number: int, data: bytes) -> None:
    with open(number, "wb", closefd=False) as file:
        file.write(data)


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 3)


def fix_addresses() -> None:
    """Start this process again with addresses that are not drawn, where the kernel lets it.

    The builder orders some of what an engine holds by address: only so do two builds give the same bytes.
    """
    if sys.platform != "linux" or _STARTED_AGAIN in os.environ:
        return
    kernel = ctypes.CDLL(None)
    if kernel.personality(kernel.personality(_CURRENT) | _NO_RANDOM_ADDRESSES) != -1:
        os.environ |= {_STARTED_AGAIN: "1", "PYTHONHASHSEED": "0"}
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - itself


def peak_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Return the most memory that was resident, 0 where the system does not say.

    Linux says it in `status`: its `ru_maxrss` would count what the parent had when it forked.
    """
    if status.is_file() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        return 1024 * int(found[1])
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def main() -> None:
    """Answer the request on stdin."""
    fix_addresses()
    request = json.load(sys.stdin)
    report = build(importlib.import_module(request["module"]), request)
    report["peak_bytes"] = peak_bytes()
    _write(request["report"], json.dumps(report).encode())


if __name__ == "__main__":
    main()
