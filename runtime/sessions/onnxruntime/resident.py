"""Values of ONNX Runtime that stay on a GPU, where later runs read them without a copy; it opens no session."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base import Value, on_host
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

    def update(self, array: np.ndarray) -> None:
        """Copy an array of its shape into it."""
        self.value.update_inplace(ort_value(array, ort=self._ort, is_bits=self._is_bits))


@dataclass(frozen=True)
class Device:
    """A device as a session's tensors lie on it: ONNX Runtime's `name` of it and module, the tensors in bfloat16."""

    name: str
    bits: Collection[str]
    ort: Any

    def place(self, name: str, array: np.ndarray) -> Resident:
        """Return a copy of an array there, as the tensor of this name."""
        is_bits = name in self.bits
        dtype = BFLOAT16 if is_bits else array.dtype
        value = self.ort.OrtValue.ortvalue_from_shape_and_type(array.shape, dtype, self.name, 0)
        resident = Resident(value, is_bits=is_bits, ort=self.ort)
        resident.update(array)
        return resident

    def run(
        self,
        session: Any,
        names: Sequence[str],
        feeds: Mapping[str, Value],
        kept: Collection[str],
        run_options: Any = None,
    ) -> dict[str, Value]:
        """Run an `InferenceSession` and return the outputs `names`, of which `kept` stay here."""
        binding = session.io_binding()
        for name, value in feeds.items():
            binding.bind_ortvalue_input(
                name, value.value if isinstance(value, Resident) else self._on_host(name, value)
            )
        for name in names:
            binding.bind_output(name, self.name if name in kept else _HOST)
        session.run_with_iobinding(binding, run_options)
        made: dict[str, Value] = {}
        for name, value in zip(names, binding.get_outputs(), strict=True):
            is_bits = name in self.bits
            made[name] = (
                Resident(value, is_bits=is_bits, ort=self.ort) if name in kept else host_array(value, is_bits=is_bits)
            )
        return made

    def _on_host(self, name: str, value: Value) -> Any:
        return ort_value(on_host(value), ort=self.ort, is_bits=name in self.bits)
