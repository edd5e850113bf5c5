"""OpenVINO's own runtime on the CPU: the whole graph, in the precision that a profile says, on any maker's CPU.

Its plugin for ONNX Runtime is the same engine but offers no device on CPUs that are not Intel's. It takes bfloat16 by
itself where the CPU has it, so a profile says the precision. It looks up an id beyond a table as zeros, without an
error: who makes ids checks them.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import methodcaller
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EnvironmentMissing, UnsupportedError, UsageError
from ..graphs.header import read_header
from ..machine import BF16
from .base import Session, cpu_threads
from .meanings import BROKEN, MEMORY, UNFIT, Meanings, explained, failed
from .opening import Opening
from .pool import Pool, PoolClosed
from .telemetry import openvino_module

# What a profile does not say otherwise. Threads bound to cores meet those of the next process there, and are no faster:
# BERT-base in float32 on two cores of a Zen 4 takes 1.03, 1.11 and 1.04 times as long (1 x 16, 1 x 128, 8 x 128).
_DEFAULTS: Mapping[str, Any] = {"ENABLE_CPU_PINNING": False}
# In bfloat16: snippets, its generated kernels for elementwise operators, are wrong there where shapes change. A BART
# on 2026.4.1 is off by half where a prompt gets as long as its source. Without them BERT and MiniLM are as fast.
_IN_BF16: Mapping[str, Any] = {"SNIPPETS_MODE": "DISABLE"}
_OPENING: Meanings = (
    ("no conversion rule found", UnsupportedError, "OpenVINO does not know one of its operators"),
    ("conversion is failed for", UnsupportedError, "OpenVINO does not support one of its operators as it is"),
    ("unsupported property", UsageError, "an option of the profile is none of OpenVINO's"),
    ("wrong value", UsageError, "an option of the profile has a value that OpenVINO does not accept"),
    *MEMORY,
    BROKEN,
)
_RUNNING: Meanings = (*MEMORY, UNFIT)


class OpenVinoSession(Session):
    """A graph compiled for the CPU; `options` are OpenVINO's properties, such as `INFERENCE_PRECISION_HINT`.

    As many runs work at a time as OpenVINO has streams (one, tuned for latency); more wait.
    """

    def __init__(self, path: Path, *, options: Mapping[str, Any], opening: Opening) -> None:
        in_bf16 = options.get("INFERENCE_PRECISION_HINT") == "bf16"
        if in_bf16 and not BF16 & opening.machine.cpu_features:
            raise EnvironmentMissing(
                f"this CPU ({opening.machine.model_name}) has neither AMX-BF16 nor AVX512-BF16, so OpenVINO would not "
                "compute in bfloat16"
            )
        defaults = {**_DEFAULTS, **_IN_BF16} if in_bf16 else _DEFAULTS
        properties = {**defaults, "INFERENCE_NUM_THREADS": cpu_threads(opening.threads), **options}
        self._tracer = None if opening.trace is None else _Tracer(opening.trace)
        if self._tracer:
            properties["PERF_COUNT"] = True
        label = f"{path.parent.name}/{path.name}"
        header = read_header(path)  # OpenVINO drops the names of dynamic axes
        openvino = openvino_module()
        try:
            core = openvino.Core()
            model = core.read_model(str(path))
            self._values = _freed(openvino, model, [tensor.name for tensor in header.optional])
            compiled = core.compile_model(model, "CPU", properties)
        except Exception as error:
            raise explained(f"graph '{label}' cannot be loaded", error, _OPENING, path=path) from error
        super().__init__(
            graph=label,
            inputs=header.inputs,
            outputs=header.outputs,
            providers=("OpenVINO",),
            optional=header.optional,
        )
        names = [tensor.name for tensor in header.outputs]
        infer = self._tracer.infer if self._tracer else methodcaller("infer")
        self._pool: Pool[_Request] = Pool(
            lambda: _Request(compiled.create_infer_request(), openvino.Tensor, names, infer),
            most=compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"),
        )

    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with self._explaining(feeds), self._pool.lent() as request:
            return request.run({**self._values, **feeds})

    @contextmanager
    def _explaining(self, feeds: Mapping[str, np.ndarray]) -> Iterator[None]:
        try:
            yield
        except PoolClosed as error:
            raise UsageError(f"the session on graph '{self.graph}' is closed: open it again") from error
        except Exception as error:
            raise explained(failed(self.graph, feeds), error, _RUNNING) from error

    def close(self) -> None:
        self._pool.close()
        if self._tracer:
            self._tracer.save()


class _Request:
    """What one run at a time works in; its outputs are overwritten by the next, so they are copied."""

    def __init__(
        self, request: Any, tensor: Callable[..., Any], outputs: list[str], infer: Callable[[Any], Any]
    ) -> None:
        self._request: Any = request
        self._tensor = tensor
        self._outputs = outputs
        self._infer = infer

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name, array in feeds.items():
            shared = array.flags.c_contiguous and array.flags.writeable
            self._request.set_tensor(name, self._tensor(array, shared_memory=shared))
        self._infer(self._request)
        return {name: np.array(self._request.get_tensor(name).data) for name in self._outputs}

    def close(self) -> None:
        self._request = None


class _Tracer:
    """Events of a session's runs in ONNX Runtime's form, so that one reader knows both.

    OpenVINO tells which kernel ran and what it took in the mean of all runs so far, in whole microseconds; neither its
    shapes nor when it began. So a run's nodes took what the sum grew by, and are drawn one after another.
    """

    def __init__(self, prefix: Path) -> None:
        self._prefix = prefix
        self._runs = 0
        self._told: dict[str, float] = {}
        self._events: list[dict[str, Any]] = []

    def infer(self, request: Any) -> None:
        begun = time.perf_counter_ns()
        request.infer()
        at, end = begun / 1000, time.perf_counter_ns() / 1000
        self._events.append(_event("model_run", at, end - at))
        self._runs += 1
        for node in request.profiling_info:
            if node.status == node.Status.EXECUTED:
                before = self._told.get(node.node_name, 0.0)
                took = max(0.0, self._runs * node.real_time.total_seconds() * 1e6 - before)
                self._told[node.node_name] = before + took
                kernel = f"{node.node_type} {node.exec_type}"
                told = {"op_name": kernel, "input_type_shape": [], "output_type_shape": []}
                self._events.append(_event(f"{node.node_name}_kernel_time", at, took, **told))
                at = min(at + took, end)

    def save(self) -> None:
        path = Path(f"{self._prefix}_{time.strftime('%Y-%m-%d_%H-%M-%S')}_1.json")
        try:
            path.write_text(json.dumps(self._events), encoding="utf-8")
        except OSError as error:
            raise EnvironmentMissing(
                f"the trace '{path}' cannot be written ({error.strerror}): free its disk, or set TMPDIR to another"
            ) from error


def _event(name: str, at: float, took: float, **told: Any) -> dict[str, Any]:
    return {"cat": "openvino", "ph": "X", "pid": 1, "tid": 1, "name": name, "ts": at, "dur": took, "args": told}


def _freed(openvino: Any, model: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Make inputs again, in place, of what OpenVINO reads as constants of these names; return their values."""
    values = {}
    for node in model.get_ops() if names else ():
        name = node.get_friendly_name()
        if name not in names or node.get_type_name() != "Constant":
            continue
        given = openvino.opset13.parameter(node.get_output_shape(0), node.get_output_element_type(0), name=name)
        values[name] = np.array(node.data)
        openvino.utils.replace_node(node, given)
        given.output(0).set_names({name})
        model.add_parameters([given])
    return values
