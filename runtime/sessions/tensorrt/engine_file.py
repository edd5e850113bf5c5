"""From an engine's file to TensorRT's object, or an error that says where the sidecar is wrong; it runs nothing."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ...bundle.builders import BUILDERS
from ...bundle.digests import remembered_digest
from ...bundle.engines import Engine
from ...errors import DependencyMissing, EnvironmentMissing, IntegrityError, UnsupportedError, install_hint
from .driver import Driver

_LOG = logging.getLogger("vitrify")
_LEVELS = {"INTERNAL_ERROR": logging.ERROR, "ERROR": logging.ERROR, "WARNING": logging.WARNING}
# TensorRT's names of dtypes, where they are not numpy's in capitals.
_DTYPES = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16"}


class Opened(NamedTuple):
    """TensorRT's `ICudaEngine`, and a function that returns what TensorRT last complained of."""

    engine: Any
    said: Callable[[], str]


def open_engine(engine: Engine, path: Path, gpu: Driver, *, load: Callable[[str], Any]) -> Opened:
    """Deserialize the engine that the sidecar describes, after everything else is right.

    Raises
    ------
    DependencyMissing, EnvironmentMissing
        Its TensorRT is not installed, or another release; it was not built for this GPU; TensorRT refuses it.
    IntegrityError
        The file is not the one that the sidecar describes, or the graph whose weights it takes is not the one that it
        was built from.
    UnsupportedError
        It takes a tensor on the CPU.

    """
    trt = _module(engine, load)
    _check_serves(engine, trt, gpu)
    plan = _plan(engine, path)
    log = _log(trt)
    loaded = trt.Runtime(log).deserialize_cuda_engine(plan)
    if loaded is None:
        raise EnvironmentMissing(f"engine '{engine.name}' does not load on {gpu.name}: {log.said()}. {engine.rebuild}")
    _check_tensors(engine, loaded)
    if engine.is_stripped:
        _refit(engine, loaded, path, trt, log)
    return Opened(loaded, log.said)


def _module(engine: Engine, load: Callable[[str], Any]) -> Any:
    row = BUILDERS.get(engine.builder)
    if row is None:
        raise IntegrityError(f"engine '{engine.name}' is by '{engine.builder}', expected one of {', '.join(BUILDERS)}")
    try:
        return load(row.module)
    except (ImportError, OSError) as error:
        raise DependencyMissing(
            f"engine '{engine.name}' needs {row.module} {engine.version} ({error}): {install_hint(row.extra)}"
        ) from error


def _check_serves(engine: Engine, trt: Any, gpu: Driver) -> None:
    if not engine.serves(gpu.capability, {engine.builder: trt.__version__}):
        raise EnvironmentMissing(
            f"engine '{engine.name}' is by {engine.builder} {engine.version} for SM{engine.sm}, and here are "
            f"{engine.builder} {trt.__version__} and {gpu.name}, SM{gpu.capability}. Build one for these: "
            f"{replace(engine, sm=gpu.capability).rebuild}"
        )


def _plan(engine: Engine, path: Path) -> bytes:
    try:
        plan = path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"engine '{path}' cannot be read ({error.strerror}): {engine.rebuild}") from error
    if hashlib.sha256(plan).hexdigest() != engine.sha256:
        raise IntegrityError(f"engine '{path}' was changed (its sha256 is not its sidecar's): {engine.rebuild}")
    return plan


def _check_tensors(engine: Engine, loaded: Any) -> None:
    names = [loaded.get_tensor_name(index) for index in range(loaded.num_io_tensors)]
    found = {name: _dtype(loaded.get_tensor_dtype(name)) for name in names}
    described = {tensor.name: tensor.dtype for tensor in (*engine.inputs, *engine.outputs)}
    if found != described or loaded.num_optimization_profiles != max(1, len(engine.shapes)):
        raise IntegrityError(
            f"engine '{engine.name}' has {loaded.num_optimization_profiles} optimization profiles and {found}, its "
            f"sidecar says {len(engine.shapes)} and {described}: {engine.rebuild}"
        )
    hosted = [name for name in names if loaded.get_tensor_location(name).name != "DEVICE"]
    if hosted:
        raise UnsupportedError(
            f"tensor '{hosted[0]}' of engine '{engine.name}' is a shape, which TensorRT reads on the CPU: "
            "run this graph on a profile of cuda or cpu"
        )


def _refit(engine: Engine, loaded: Any, path: Path, trt: Any, log: Any) -> None:
    """Give an engine without weights those of its graph, which lies in the same bundle."""
    bundle = path.parent.parent
    for name, digest in engine.sources.items():
        if not (bundle / name).is_file() or remembered_digest(bundle / name) != digest:
            raise IntegrityError(
                f"engine '{engine.name}' reads its weights from '{name}', which is missing or was changed: "
                f"{engine.rebuild}"
            )
    refitter = trt.Refitter(loaded, log)
    parser = trt.OnnxParserRefitter(refitter, log)
    graph = bundle / next(iter(engine.sources))
    if not (parser.refit_from_file(str(graph)) and refitter.refit_cuda_engine()):
        raise EnvironmentMissing(
            f"engine '{engine.name}' does not accept the weights of '{graph.name}': {log.said()}. {engine.rebuild}"
        )


def _dtype(dtype: Any) -> str:
    return _DTYPES.get(dtype.name) or str(dtype.name).lower()


def _log(trt: Any) -> Any:
    class Log(trt.ILogger):
        """Passes on what TensorRT says, and keeps the last error."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._error = "TensorRT gave no reason"

        def log(self, severity: Any, text: str) -> None:
            level = _LEVELS.get(severity.name, logging.DEBUG)
            line = " ".join(text.split())
            if level == logging.ERROR:
                self._error = line
            _LOG.log(level, "TensorRT: %s", line)

        def said(self) -> str:
            return self._error

    return Log()
