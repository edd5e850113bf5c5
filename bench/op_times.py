"""A runtime's own profile of a bundle's graphs: what each run of each node took, computes and reads.

A profile is a list of trace events as ONNX Runtime writes them, which Perfetto opens as it is; events of several graphs
become one file.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import mul
from pathlib import Path
from typing import Any

from ..runtime.bundle.manifest import Bundle
from ..runtime.errors import EnvironmentMissing, UnsupportedError
from ..runtime.loading import LoadedBundle
from ..runtime.selection.profiles import Choice

_TRACED = ("cpu", "openvino")
_KERNEL = "_kernel_time"
_RUN = "model_run"
_FLOAT = 4


@dataclass(frozen=True)
class Node:
    """One call of one node: `microseconds` it took, `flops` and weight `bytes` (in float32) that it needs at least."""

    graph: str
    name: str
    operator: str
    microseconds: float
    flops: float
    bytes: float


@dataclass(frozen=True)
class Run:
    """One run of one graph."""

    graph: str
    microseconds: float
    nodes: tuple[Node, ...]

    @property
    def flops(self) -> float:
        """What its nodes compute."""
        return sum(node.flops for node in self.nodes)

    @property
    def bytes(self) -> float:
        """What its nodes read of weights, in float32."""
        return sum(node.bytes for node in self.nodes)


@contextmanager
def traced_bundle(
    bundle: Bundle, into: Path, *, profile: str | Choice | None, threads: int | None
) -> Iterator[LoadedBundle]:
    """Yield a bundle, loaded, whose sessions write a profile each into a folder, complete when the context ends.

    Raises UnsupportedError for a provider whose nodes no profiler sees.
    """
    loaded = LoadedBundle(bundle, profile=profile, threads=threads, trace_to=into)
    if (provider := loaded.profile.provider) not in _TRACED:
        raise UnsupportedError(
            f"profile '{loaded.profile.name}' runs on '{provider}', whose nodes no profiler sees: "
            f"trace a profile of provider {' or '.join(map(repr, _TRACED))}"
        )
    try:
        yield loaded
    finally:
        loaded.close()


def read_traces(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the events of every profile in a folder, by the graph's name."""
    # ONNX Runtime appends _DATE_TIME_NUMBER to what the session was told.
    return {path.stem.rsplit("_", 3)[0]: _events(path) for path in sorted(folder.glob("*.json"))}


def runs_of(traces: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Run]:
    """Return every run of every graph, in the order of time within each graph."""
    return [run for graph, events in traces.items() for run in _runs(graph, events)]


def by_operator(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Return for each type of operator its calls, milliseconds, share of all nodes' time and GFLOP/s, longest first."""
    return _table((node.operator, node) for run in runs for node in run.nodes)


def by_node(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Return the same for each node, named with its graph and type."""
    return _table((f"{node.graph}: {node.name} ({node.operator})", node) for run in runs for node in run.nodes)


def perfetto(traces: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the events of all graphs as one list, each graph a process of its own name."""
    merged: list[dict[str, Any]] = []
    for number, (graph, events) in enumerate(traces.items(), start=1):
        merged.append({"ph": "M", "name": "process_name", "pid": number, "args": {"name": graph}})
        merged += [{**event, "pid": number} for event in events]
    return merged


def _events(path: Path) -> list[dict[str, Any]]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EnvironmentMissing(
            f"the trace '{path}' is cut off: free its disk if it is full, or set TMPDIR to another"
        ) from error


def _runs(graph: str, events: Iterable[Mapping[str, Any]]) -> Iterator[Run]:
    spans = sorted((event["ts"], event["dur"]) for event in events if event["name"] == _RUN)
    nodes = [(event["ts"], _node(graph, event)) for event in events if event["name"].endswith(_KERNEL)]
    for start, length in spans:
        yield Run(graph, length, tuple(node for at, node in nodes if start <= at <= start + length))


def _node(graph: str, event: Mapping[str, Any]) -> Node:
    told = event["args"]
    inputs, outputs = _shapes(told["input_type_shape"]), _shapes(told["output_type_shape"])
    flops, read = _work(told["op_name"], inputs, outputs)
    name = event["name"].removesuffix(_KERNEL)
    return Node(graph, name, told["op_name"], event["dur"], flops, read)


def _shapes(told: Iterable[Mapping[str, list[int]]]) -> list[list[int]]:
    return [shape for item in told for shape in item.values()]


def _work(operator: str, inputs: list[list[int]], outputs: list[list[int]]) -> tuple[float, float]:
    """Return the floating-point operations of a product or a convolution, and the bytes of its weights in float32.

    Attention that is one operator is left out: how many keys it reads is not told.

    Weights that were packed beforehand have no shape: what multiplies a matrix is told from its input and its output.
    """
    if not inputs or not outputs:
        return 0.0, 0.0
    read, made = inputs[0], outputs[0]
    if "MatMul" in operator or operator in {"Gemm", "QGemm"}:
        weight = len(inputs) < 2 or len(inputs[1]) <= 2 or operator != "MatMul"
        depth = read[-1] if read else 0
        return 2.0 * _size(made) * depth, _FLOAT * depth * made[-1] if weight and made else 0.0
    if "Conv" in operator and len(inputs) > 1:
        return 2.0 * _size(made) * _size(inputs[1][1:]), _FLOAT * _size(inputs[1])
    return 0.0, 0.0


def _size(shape: Iterable[int]) -> int:
    return reduce(mul, shape, 1)


def _table(found: Iterable[tuple[str, Node]]) -> list[dict[str, Any]]:
    groups: dict[str, list[Node]] = defaultdict(list)
    for name, node in found:
        groups[name].append(node)
    spent = {name: sum(node.microseconds for node in nodes) for name, nodes in groups.items()}
    whole = sum(spent.values()) or 1.0
    return [
        {
            "name": name,
            "calls": len(groups[name]),
            "ms": spent[name] / 1000,
            "share": spent[name] / whole,
            "gflops": sum(node.flops for node in groups[name]) / max(spent[name], 1e-3) / 1000,
        }
        for name in sorted(groups, key=lambda name: -spent[name])
    ]
