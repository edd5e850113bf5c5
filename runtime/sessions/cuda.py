"""CUDA, refused with the reason: no half-precision graph is made yet, and nothing falls back to the CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from ..errors import EnvironmentMissing, UnsupportedError
from ..machine import Machine


def refuse_cuda(path: Path, *, options: Mapping[str, Any], threads: int | None, machine: Machine) -> NoReturn:  # noqa: ARG001 - every backend takes these
    """Raise EnvironmentMissing on a machine without a GPU, UnsupportedError on one that has it."""
    if not machine.gpus:
        raise EnvironmentMissing(
            f"'{path.name}' on CUDA needs an NVIDIA GPU with its driver, and onnxruntime-gpu (pip install "
            "'vitrify[gpu]'): this machine shows no GPU, and nothing falls back. Use cpu-fp32, cpu-bf16 or cpu-int8"
        )
    raise UnsupportedError(
        f"'{path.name}' on CUDA ({machine.gpus[0]}): this version of vitrify runs on CPUs only. "
        "Use the profile cpu-fp32, cpu-bf16 or cpu-int8"
    )
