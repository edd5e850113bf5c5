"""Whole numbers as a value of a graph: what shapes, axes and bounds of other passes are written with."""

from collections.abc import Sequence

import numpy as np
import onnx_ir
from onnx_ir import tape


def whole_numbers(new: tape.Tape, numbers: Sequence[int]) -> onnx_ir.Value:
    """Return int64 [numbers] as the output of a Constant node on the tape."""
    return new.op("Constant", [], attributes={"value": onnx_ir.tensor(np.array(numbers, np.int64))})
