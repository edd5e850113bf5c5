"""Values of ONNX Runtime that stay on a GPU, where later runs read them without a copy; it opens no session.

It has not run on a GPU yet.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from .base import Value, on_host
from .bfloat16 import BFLOAT16, host_array, ort_value

_HOST = "cpu"


class Resident:
    """An OrtValue on a device; `is_bits` says that it is bfloat16, which numpy lacks."""

    def __init__(self, value: Any, *, is_bits: bool, ort: Any) -> None:
        self.value = value
        self._is_bits = is_bits
        self._ort = ort

    def numpy(self) -> np.ndarray:
        if not self._is_bits:
            return self.value.numpy()
        host = self._ort.OrtValue.ortvalue_from_shape_and_type(self.value.shape(), BFLOAT16)
        host.update_inplace(self.value)
        return host_array(host, is_bits=True)


def place(array: np.ndarray, *, device: str, is_bits: bool, ort: Any) -> Resident:
    """Return a copy of an array on a device, by ONNX Runtime's name of it."""
    value = ort.OrtValue.ortvalue_from_shape_and_type(array.shape, BFLOAT16 if is_bits else array.dtype, device, 0)
    value.update_inplace(ort_value(array, ort=ort, is_bits=is_bits))
    return Resident(value, is_bits=is_bits, ort=ort)


def run_resident(
    session: Any,
    names: Sequence[str],
    feeds: Mapping[str, Value],
    kept: Collection[str],
    *,
    device: str,
    bits: Collection[str],
    ort: Any,
    run_options: Any = None,
) -> dict[str, Value]:
    """Run an `InferenceSession` and return the outputs `names`, of which `kept` stay on `device`.

    The tensors in `bits` are bfloat16.
    """
    binding = session.io_binding()
    for name, value in feeds.items():
        bound = value.value if isinstance(value, Resident) else ort_value(on_host(value), ort=ort, is_bits=name in bits)
        binding.bind_ortvalue_input(name, bound)
    for name in names:
        binding.bind_output(name, device if name in kept else _HOST)
    session.run_with_iobinding(binding, run_options)
    made: dict[str, Value] = {}
    for name, value in zip(names, binding.get_outputs(), strict=True):
        is_bits = name in bits
        made[name] = Resident(value, is_bits=is_bits, ort=ort) if name in kept else host_array(value, is_bits=is_bits)
    return made
