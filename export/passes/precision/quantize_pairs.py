"""Write layers with explicit QuantizeLinear pairs: what TensorRT and OpenVINO make int8 kernels from.

1. `MatMul` and `Gemm` with a constant matrix, and `Conv` with constant weights: what they read and their weight each go
   through a pair, `DequantizeLinear(QuantizeLinear(x))`. The weight is stored quantized, so of its pair one stays.
2. A weight has a scale for each output, max|w| over the type's largest number (127 in int8, 448 in float8 e4m3); what a
   layer reads has one scale, from the largest magnitude that calibration saw. Zero points are 0, but for rule 5.
3. Before a matrix, channels are evened out where that loses less: divided by s = sqrt(max|x| / max|w|), by which the
   matrix's rows are multiplied (SmoothQuant, Xiao et al. 2022, with a strength of one half). Else a few large channels
   take all steps.
4. int8 has steps of one size. A layer stays as it is if rounding to them, whose standard deviation is a step over
   sqrt(12), would be more than a tenth of what it reads: after a GELU, most numbers are small and a few are not.
5. Where symmetry is not asked for, such a layer first tries uint8 with a zero point, of which no step is spent on
   numbers that do not occur: a GELU gives none below -0.17, so steps are half as large.
6. Layers that read the same value share its pair.
7. Small matrices stay, as do layers whose input was 0 throughout. Lookups, products of two activations and everything
   between the layers stay.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from ....runtime.errors import UnsupportedError
from ..reading.layers import Weight, layer_weight

HIGHEST, LOWEST, POWER = ".highest", ".lowest", ".power"
_MOST_NOISE = 0.1
_TYPES: Mapping[str, tuple[ir.DataType, float]] = {
    "int8": (ir.DataType.INT8, 127.0),
    "fp8": (ir.DataType.FLOAT8E4M3FN, 448.0),
}
# float16 holds no smaller number in full, and scales become float16 where the graph does.
_SMALLEST_SCALE = 2.0**-14
_MOST_EVENED = 2.0**8


@dataclass(frozen=True)
class Magnitude:
    """How large the numbers are that a layer reads: the highest, the lowest and the mean square of each channel or all.

    Float32 [channels], or [] of all.
    """

    highest: np.ndarray
    lowest: np.ndarray
    power: np.ndarray

    @property
    def largest(self) -> np.ndarray:
        """The largest magnitude of each."""
        return np.maximum(np.abs(self.highest), np.abs(self.lowest))

    def evened(self, by: np.ndarray) -> "Magnitude":
        """Return what it is after each channel is divided."""
        return Magnitude(self.highest / by, self.lowest / by, self.power / by**2)


@dataclass(frozen=True)
class _Steps:
    """What stands for a value whose channels are divided `by`: numbers of `dtype` times `scale`, and `zero` for 0.0.

    `noise` is the standard deviation of rounding to an integer's steps, over that of the numbers.
    """

    by: np.ndarray
    dtype: ir.DataType
    scale: np.ndarray
    zero: int
    noise: float


@dataclass(frozen=True)
class _Layer:
    """A node to quantize, the constant that it reads, and the axis of its outputs in the weight as the node sees it."""

    node: ir.Node
    read: Weight
    axis: int

    @property
    def name(self) -> str:
        return str(self.read.value.name)

    @property
    def weight(self) -> np.ndarray:
        """The weight as the node sees it, float32: made when asked for, so that one matrix at a time is held."""
        if self.is_convolution:
            assert self.read.value.const_value is not None
            return self.read.value.const_value.numpy()
        return self.read.rows if self.axis == 0 else np.ascontiguousarray(self.read.rows.T)

    @property
    def is_convolution(self) -> bool:
        """Whether its channels are not the last axis of what it reads."""
        return self.node.op_type == "Conv"

    @property
    def channels(self) -> int:
        """How many numbers each of a matrix's outputs is a sum of."""
        assert self.read.value.const_value is not None
        return self.read.value.const_value.shape.numpy()[1 if self.read.by_row else 0]

    @property
    def reads(self) -> ir.Value:
        value = self.node.inputs[0]
        assert value is not None
        return value


def observe(model: ir.Model) -> None:
    """Add outputs for what each layer reads, in place: `NAME.highest`, `NAME.lowest` and `NAME.power`, the mean square;
    float32 [channels], or [] before a convolution.
    """
    for name, layers in _by_value(model.graph).items():
        value, of_all = layers[0].reads, layers[0].is_convolution
        # Rows by channels, whatever the rank.
        rows = ir.node("Reshape", [value, _whole(model.graph, [-1] if of_all else [-1, layers[0].channels])])
        square = ir.node("Mul", [rows.outputs[0], rows.outputs[0]])
        for node, end in ((rows, ".rows"), (square, ".square")):
            _describe(node, f"{name}{end}", ir.DataType.FLOAT, None)
        model.graph.extend([rows, square])
        shape, first = ir.Shape([] if of_all else [layers[0].channels]), _whole(model.graph, [0])
        for operator, of, end in (("Max", rows, HIGHEST), ("Min", rows, LOWEST), ("Mean", square, POWER)):
            node = ir.node(f"Reduce{operator}", [of.outputs[0], first], {"keepdims": 0})
            _describe(node, f"{name}{end}", ir.DataType.FLOAT, shape)
            model.graph.append(node)
            model.graph.outputs.append(node.outputs[0])


def quantize_pairs(
    model: ir.Model, seen: Mapping[str, Magnitude], *, kind: str, symmetric: bool = True, exact: Collection[str] = ()
) -> None:
    """Quantize the layers of a float32 graph in place, to "int8" or "fp8", but for those with the weights in `exact`.

    `seen` maps the names of values that layers read to what calibration saw of them. Raises UnsupportedError for a
    graph without a layer to quantize.
    """
    makers = (_symmetric,) if symmetric or kind != "int8" else (_symmetric, _asymmetric)
    writers = []
    for name, found in _by_value(model.graph).items():
        magnitude = seen.get(name)
        layers = [layer for layer in found if layer.name not in exact]
        if not layers or magnitude is None or not magnitude.largest.any():
            continue
        even = _evening(layers, magnitude.largest)
        for make in makers:
            steps = min((make(magnitude, by, kind) for by in (even, np.ones_like(even))), key=attrgetter("noise"))
            if kind != "int8" or steps.noise <= _MOST_NOISE:
                writers.append((layers, _Writer(model.graph, *_TYPES[kind], steps)))
                break
    if not writers:
        raise UnsupportedError(f"the graph has no layer to quantize to {kind}: use a profile in half precision")
    for layers, writer in writers:
        reads = writer.activation(layers[0].reads, before=layers[0].node)
        for layer in layers:
            layer.node.replace_input_with(0, reads)
            layer.node.replace_input_with(1, writer.weight(layer))
    common.RemoveUnusedNodesPass()(model)


def _symmetric(seen: Magnitude, by: np.ndarray, kind: str) -> _Steps:
    evened, (dtype, most) = seen.evened(by), _TYPES[kind]
    scale = _scale(evened.largest.max(), most)
    return _Steps(by, dtype, scale, 0, _noise(scale, evened))


def _asymmetric(seen: Magnitude, by: np.ndarray, _: str) -> _Steps:
    """Return steps from the lowest number to the highest, and 0."""
    evened = seen.evened(by)
    low, high = min(evened.lowest.min(), 0.0), max(evened.highest.max(), 0.0)
    scale = _scale(np.asarray(high - low), 255.0)
    return _Steps(by, ir.DataType.UINT8, scale, round(-low / float(scale)), _noise(scale, evened))


def _noise(scale: np.ndarray, seen: Magnitude) -> float:
    power = float(seen.power.mean())
    return float(scale) / float(np.sqrt(12 * power)) if power else np.inf


def _by_value(graph: ir.Graph) -> dict[str, list[_Layer]]:
    """Return the layers, in the graph's order, by the name of what they read."""
    found: dict[str, list[_Layer]] = {}
    for layer in _layers(graph):
        found.setdefault(str(layer.reads.name), []).append(layer)
    # Of one value a matrix and a convolution would see other channels; the first decides.
    return {name: [one for one in each if one.is_convolution == each[0].is_convolution] for name, each in found.items()}


def _evening(layers: Sequence[_Layer], largest: np.ndarray) -> np.ndarray:
    """Return by what each channel is divided, float32 [channels], or 1 before a convolution."""
    if layers[0].is_convolution:
        return np.ones((), np.float32)
    rows = np.max([np.abs(layer.weight).max(axis=layer.axis) for layer in layers], axis=0)
    known = (largest > 0) & (rows > 0)
    ratio = np.where(known, largest, 1.0) / np.where(known, rows, 1.0)
    return np.clip(np.sqrt(ratio), 1 / _MOST_EVENED, _MOST_EVENED).astype(np.float16).astype(np.float32)


def _layers(graph: ir.Graph) -> Iterator[_Layer]:
    for node in graph:
        found = layer_weight(node)
        if found is not None:
            yield _Layer(node, found, 0 if node.attributes.get_int("transB", 0) else 1)
        elif node.op_type == "Conv" and not node.domain and (value := node.inputs[1]) is not None:
            tensor = value.const_value
            if tensor is not None and tensor.dtype == ir.DataType.FLOAT:
                yield _Layer(node, Weight(value, by_row=True), 0)


class _Writer:
    """Writes the pairs of one value, by its `steps`, and of the weights that it meets, in numbers up to `most`."""

    def __init__(self, graph: ir.Graph, dtype: ir.DataType, most: float, steps: _Steps) -> None:
        self._graph, self._dtype, self._most, self._steps = graph, dtype, most, steps

    def activation(self, value: ir.Value, *, before: ir.Node) -> ir.Value:
        name, steps, new = str(value.name), self._steps, []
        if (steps.by != 1).any():
            new.append(ir.node("Mul", [value, self._constant(f"{name}.evened", 1 / steps.by)]))
            _describe(new[-1], f"{name}.even", ir.DataType.FLOAT, value.shape)
        scale = self._constant(f"{name}.scale", steps.scale)
        zero = self._constant(f"{name}.zero", np.array(steps.zero, steps.dtype.numpy()))
        new.append(ir.node("QuantizeLinear", [new[-1].outputs[0] if new else value, scale, zero]))
        _describe(new[-1], f"{name}.quantized", steps.dtype, value.shape)
        new.append(ir.node("DequantizeLinear", [new[-1].outputs[0], scale, zero]))
        _describe(new[-1], f"{name}.dequantized", ir.DataType.FLOAT, value.shape)
        self._graph.insert_before(before, new)
        return new[-1].outputs[0]

    def weight(self, layer: _Layer) -> ir.Value:
        # A matrix that several values meet is stored for each: they even it out otherwise.
        name = f"{layer.name}.{layer.reads.name}"
        if f"{name}.stored" in self._graph.initializers:
            name = f"{name}.{layer.node.name}"
        weight = layer.weight
        if not layer.is_convolution:
            weight = weight * np.expand_dims(self._steps.by, layer.axis)
        others = tuple(axis for axis in range(weight.ndim) if axis != layer.axis)
        scale = _scale(np.abs(weight).max(axis=others), self._most)
        scaled = np.clip(weight / np.expand_dims(scale, others), -self._most, self._most)
        if self._dtype == ir.DataType.INT8:
            scaled = np.rint(scaled)
        inputs = [
            self._constant(f"{name}.stored", scaled.astype(self._dtype.numpy())),
            self._constant(f"{name}.scale", scale),
            self._constant(f"{name}.zero", np.zeros(scale.shape, self._dtype.numpy())),
        ]
        node = ir.node("DequantizeLinear", inputs, {"axis": layer.axis})
        _describe(node, f"{name}.weight", ir.DataType.FLOAT, ir.Shape(weight.shape))
        self._graph.insert_before(layer.node, node)
        return node.outputs[0]

    def _constant(self, name: str, numbers: np.ndarray) -> ir.Value:
        value = ir.val(name, const_value=ir.tensor(numbers, name=name))
        self._graph.register_initializer(value)
        return value


def _scale(largest: np.ndarray, most: float) -> np.ndarray:
    """Return scales, float32, that float16 holds too: what is quantized and what is stored agree on them."""
    scale = np.maximum(largest / most, _SMALLEST_SCALE).astype(np.float32)
    return np.nextafter(scale.astype(np.float16), np.float16(np.inf)).astype(np.float32)


def _describe(node: ir.Node, name: str, dtype: ir.DataType, shape: Any) -> None:
    node.name, output = name, node.outputs[0]
    output.name, output.type, output.shape = name, ir.TensorType(dtype), shape


def _whole(graph: ir.Graph, numbers: Sequence[int]) -> ir.Value:
    name = f"whole_{'_'.join(map(str, numbers))}"
    if name not in graph.initializers:
        graph.register_initializer(ir.val(name, const_value=ir.tensor(np.array(numbers, np.int64), name=name)))
    return graph.initializers[name]
