"""bfloat16 in and out of ONNX Runtime as uint16 bit patterns, which is what numpy can carry; it converts no number."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16


def run_bits(
    session: Any,
    names: Sequence[str],
    feeds: Mapping[str, np.ndarray],
    *,
    bits: Collection[str],
    ort: Any,
    run_options: Any = None,
) -> dict[str, np.ndarray]:
    """Run an `InferenceSession` and return the outputs `names`; the tensors in `bits` are bfloat16.

    `InferenceSession.run` takes and gives numpy's own dtypes only, OrtValues have all of ONNX's.
    """
    values = {name: ort_value(array, ort=ort, is_bits=name in bits) for name, array in feeds.items()}
    made = session.run_with_ort_values(list(names), values, run_options)
    return {name: host_array(value, is_bits=name in bits) for name, value in zip(names, made, strict=True)}


def host_array(value: Any, *, is_bits: bool) -> np.ndarray:
    """Return an OrtValue on the CPU as an array."""
    return np.asarray(_Bits(value)) if is_bits else value.numpy()


def ort_value(array: np.ndarray, *, ort: Any, is_bits: bool) -> Any:
    """Return an array as an OrtValue on the CPU, which has its memory."""
    array = np.asarray(array, order="C")
    if is_bits:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy(array)


class _Bits:
    """An OrtValue on the CPU as numpy reads it, without a copy: the array keeps this, and this keeps the memory."""

    def __init__(self, value: Any) -> None:
        self._value = value
        self.__array_interface__ = {
            "version": 3,
            "shape": tuple(value.shape()),
            "typestr": np.dtype(np.uint16).str,
            "data": (value.data_ptr(), False),
        }
