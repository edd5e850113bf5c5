"""ONNX Runtime's own CPU kernels: every graph that vitrify makes runs here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..machine import Machine
from .ort import OrtSession, session_options


class CpuSession(OrtSession):
    """A graph on `CPUExecutionProvider`; `options` are session config entries by their ONNX Runtime name."""

    def __init__(self, path: Path, *, options: Mapping[str, Any], threads: int | None, machine: Machine) -> None:  # noqa: ARG002 - any CPU will do
        super().__init__(
            path, options=session_options(threads=threads, entries=options), providers=("CPUExecutionProvider",)
        )
