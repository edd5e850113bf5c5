"""What every backend on ONNX Runtime shares: its types, its options, what its errors mean; it chooses no provider."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ...errors import EnvironmentMissing, IntegrityError, UnsupportedError, UsageError
from ...graphs.signature import Tensor
from ..base import Session, Value, cpu_threads
from ..meanings import BROKEN, MEMORY, UNFIT, Meanings, explained, failed, outside_table
from ..opening import Opening
from ..telemetry import onnxruntime_module
from .bfloat16 import BFLOAT16, run_bits

_DTYPES = {
    "tensor(bfloat16)": "bfloat16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}

_OLD = "this ONNX Runtime is too old for it; pip install --upgrade onnxruntime"
_UNKNOWN = "this ONNX Runtime does not know one of its operators"
_DEVICE = "the GPU or its driver failed; see `nvidia-smi`"
OPENING: Meanings = (
    ("unsupported model ir version", EnvironmentMissing, _OLD),
    ("is under development and support for this is limited", EnvironmentMissing, _OLD),
    ("not_implemented", UnsupportedError, "this ONNX Runtime lacks one of its operators"),
    *((said, UnsupportedError, _UNKNOWN) for said in ("no op registered", "is not a registered function/op")),
    ("fallback to cpu ep", EnvironmentMissing, "the provider cannot run all of it, and nothing falls back silently"),
    *MEMORY,
    ("cuda failure", EnvironmentMissing, _DEVICE),
    BROKEN,
)
_RUNNING: Meanings = (*MEMORY, ("cuda failure", EnvironmentMissing, _DEVICE), UNFIT)
# The session config entry that lets ONNX Runtime say which provider each node went to.
_RECORD = "session.record_ep_graph_assignment_info"


class OrtSession(Session):
    """A graph loaded by ONNX Runtime on the providers that its options or `providers` name.

    A provider is a name, or a name and its options; `meanings` explain what ONNX Runtime says where it cannot load;
    `ort` is its module, None imports it.
    """

    def __init__(
        self,
        path: Path,
        *,
        options: Any,
        providers: Sequence[str | tuple[str, Mapping[str, str]]] = (),
        meanings: Meanings = OPENING,
        ort: Any = None,
    ) -> None:
        self._ort = ort or onnxruntime_module()
        label = f"{path.parent.name}/{path.name}"
        if not path.is_file():
            raise IntegrityError(f"graph '{path}' is missing: export or copy the bundle again")
        try:
            session = self._ort.InferenceSession(
                str(path), options, providers=list(providers) or None, enable_fallback=0
            )
        except Exception as error:
            raise explained(f"graph '{label}' cannot be loaded", error, meanings, path=path) from error
        self._session: Any = session
        super().__init__(
            graph=label,
            inputs=tuple(_tensor(node, label) for node in session.get_inputs()),
            outputs=tuple(_tensor(node, label) for node in session.get_outputs()),
            providers=tuple(session.get_providers()),
            optional=tuple(_tensor(node, label) for node in session.get_overridable_initializers()),
        )
        self._names = [tensor.name for tensor in self.outputs]

    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        session = self._opened()
        with self._explaining(feeds):
            if self._bits:
                return run_bits(session, self._names, feeds, bits=self._bits, ort=self._ort)
            return dict(zip(self._names, session.run(self._names, feeds), strict=True))

    def bind(self, feeds: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> Callable[[], None]:
        session = self._opened()
        binding = session.io_binding()
        for bind, arrays in ((binding.bind_input, feeds), (binding.bind_output, outputs)):
            for name, array in arrays.items():
                dtype = BFLOAT16 if name in self._bits else array.dtype
                bind(name, "cpu", 0, dtype, array.shape, array.ctypes.data)
        kept = (*feeds.values(), *outputs.values())  # the binding holds addresses only

        def run() -> None:
            assert kept
            with self._explaining(feeds):
                session.run_with_iobinding(binding)

        return run

    @contextmanager
    def _explaining(self, feeds: Mapping[str, Value]) -> Iterator[None]:
        """Say in words what ONNX Runtime raises within."""
        try:
            yield
        except Exception as error:
            known = outside_table(self.graph, feeds, error)
            raise known or explained(failed(self.graph, feeds), error, _RUNNING) from error

    def assignments(self) -> dict[str, dict[str, int]]:
        found: dict[str, Counter[str]] = {}
        for part in self._opened().get_provider_graph_assignment_info():
            found.setdefault(part.ep_name, Counter()).update(node.op_type for node in part.get_nodes())
        return {provider: dict(counts.most_common()) for provider, counts in found.items()}

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None and session.get_session_options().enable_profiling:
            session.end_profiling()

    def _opened(self) -> Any:
        if self._session is None:
            raise UsageError(f"the session on graph '{self.graph}' is closed: open it again")
        return self._session


def session_options(opening: Opening, *, entries: Mapping[str, Any] = MappingProxyType({}), ort: Any = None) -> Any:
    """Return SessionOptions for an opening, with config `entries`; raise UsageError if its threads are not positive."""
    ort = ort or onnxruntime_module()
    options = ort.SessionOptions()
    options.intra_op_num_threads = cpu_threads(opening.threads)
    options.inter_op_num_threads = 1
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_DISABLE_ALL if opening.packed else level.ORT_ENABLE_ALL
    # Errors come as exceptions; at level 3 they would be printed as well.
    options.log_severity_level = 4
    if opening.varied:
        # ONNX Runtime plans the memory of each shape that it has seen, and keeps a block for the largest plan beside
        # what runs without one take: MiniLM on 1,000 texts 310 MB instead of 247, no faster.
        options.enable_mem_pattern = False
    if opening.trace is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(opening.trace)
    for key, value in {**entries, **({_RECORD: "1"} if opening.record else {})}.items():
        options.add_session_config_entry(key, str(value))
    return options


def _tensor(node: Any, label: str) -> Tensor:
    if node.type not in _DTYPES:
        raise UnsupportedError(f"'{node.name}' of graph '{label}' is a {node.type}, which has no numpy array")
    axes = (axis if axis is not None else f"{node.name}.{position}" for position, axis in enumerate(node.shape))
    return Tensor(name=node.name, dtype=_DTYPES[node.type], axes=tuple(axes))
