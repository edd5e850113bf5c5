"""Turn the linear layers of a portable graph into int8, activations scaled at run time.

1. `MatMul(x, W)` and `Gemm(x, W, c)` with a constant float32 matrix W, or with the transpose of one, become
   `DynamicQuantizeLinear` (x as uint8), `MatMulInteger` and two multiplications: the pattern that ONNX Runtime fuses
   into one kernel. Weights are signed, because unsigned times signed is the only int8 product that reaches AMX there.
2. A weight's scale is max|w| / 127, for each column by itself if `per_channel`. CPUs without VNNI add two such products
   in 16 bits, which may overflow: the profile asks ONNX Runtime for its exact kernels there. Those refuse a matrix
   that several layers share, so such a one takes 7 bits, of which two products always fit: max|w| / 64.
3. Layers that read the same value share its quantization.
4. A weight with fewer than 16 rows or columns stays: a head of a few labels costs nothing and decides the answer.
5. With `embeddings`, `Gather(W, ids)` along rows becomes a lookup of int8 rows and of their scales: a quarter of the
   size, each row with its own scale. Tables with fewer than 16 rows stay.
6. Convolutions and products of two activations stay.

Only standard operators; axes keep their names; the result is a function of the graph's bytes.
"""

from collections import Counter
from collections.abc import Collection

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from ....runtime.errors import UnsupportedError
from ..reading.layers import Weight, is_lookup, layer_weight

_LARGEST, _LARGEST_SHARED = 127, 64


def quantize_dynamic(graph: ir.Model, *, per_channel: bool = True, embeddings: bool = False) -> None:
    """Quantize the linear layers of a float32 graph, and its lookups if `embeddings`, in place.

    Raises UnsupportedError for a graph without a linear layer: int8 would change nothing.
    """
    layers = [(node, weight) for node in graph.graph if (weight := layer_weight(node))]
    readers = Counter(str(weight.value.name) for _, weight in layers)
    shared = {name for name, count in readers.items() if count > 1}
    quantizer = _Quantizer(graph.graph, per_channel=per_channel, shared=shared)
    if not layers:
        raise UnsupportedError("the graph has no linear layer to quantize: use the profile cpu-fp32")
    for node, weight in layers:
        quantizer.replace_layer(node, weight)
    if embeddings:
        for node in [node for node in graph.graph if is_lookup(node, sides=1)]:
            quantizer.replace_lookup(node)
    common.RemoveUnusedNodesPass()(graph)


class _Quantizer:
    """Replaces nodes of one graph, remembering what it has quantized already."""

    def __init__(self, graph: ir.Graph, *, per_channel: bool, shared: Collection[str]) -> None:
        self._graph = graph
        self._shared = shared
        self._per_channel = per_channel
        self._activations: dict[str, tuple[ir.Value, ...]] = {}
        self._weights: dict[tuple[str, int, bool], tuple[ir.Value, ir.Value]] = {}

    def replace_layer(self, node: ir.Node, read: Weight) -> None:
        x = node.inputs[0]
        assert x is not None
        quantized, scale, zero = self._activation(x, before=node)
        weight, weight_scale = self._weight(read.value, axis=0 if read.by_row else 1, per_channel=self._per_channel)
        new = []
        if read.by_row:
            new.append(ir.node("Transpose", [weight]))
            weight = new[-1].outputs[0]
        product = ir.node("MatMulInteger", [quantized, weight, zero])
        real = ir.node("Cast", product.outputs, {"to": ir.DataType.FLOAT})
        scales = ir.node("Mul", [scale, weight_scale])
        scaled = ir.node("Mul", [real.outputs[0], scales.outputs[0]])
        new += [product, real, scales, scaled]
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            new.append(ir.node("Add", [scaled.outputs[0], node.inputs[2]]))
        self._swap(node, new)

    def replace_lookup(self, node: ir.Node) -> None:
        w, ids = node.inputs
        assert w is not None
        weight, scale = self._weight(w, axis=0, per_channel=True)
        rows = ir.node("Gather", [weight, ids], {"axis": 0})
        real = ir.node("Cast", rows.outputs, {"to": ir.DataType.FLOAT})
        scales = ir.node("Gather", [self._column(scale), ids], {"axis": 0})
        self._swap(node, [rows, real, scales, ir.node("Mul", [real.outputs[0], scales.outputs[0]])])

    def _swap(self, node: ir.Node, new: list[ir.Node]) -> None:
        output = node.outputs[0].name
        for position, one in enumerate(new):
            # Named after the output: values always have a name of their own, nodes need not.
            one.name = one.outputs[0].name = f"{output}_int8_{position}"
        ir.convenience.replace_nodes_and_values(self._graph, node, [node], new, node.outputs, new[-1].outputs)

    def _activation(self, x: ir.Value, *, before: ir.Node) -> tuple[ir.Value, ...]:
        name = str(x.name)
        if name not in self._activations:
            node = ir.node("DynamicQuantizeLinear", [x], num_outputs=3, name=f"{name}_quantize")
            for value, suffix in zip(node.outputs, ("quantized", "scale", "zero_point"), strict=True):
                value.name = f"{name}_{suffix}"
            self._graph.insert_before(before, node)
            self._activations[name] = tuple(node.outputs)
        return self._activations[name]

    def _weight(self, w: ir.Value, *, axis: int, per_channel: bool) -> tuple[ir.Value, ir.Value]:
        """Return the int8 weight and its scale: a number, or a vector along `axis`."""
        name = str(w.name)
        key = (name, axis, per_channel)
        if key not in self._weights:
            assert w.const_value is not None
            numbers = w.const_value.numpy()
            largest = _LARGEST_SHARED if name in self._shared else _LARGEST
            scale = _scale(numbers, axis=1 - axis if per_channel else None, largest=largest)
            whole = np.clip(np.rint(numbers / scale), -largest, largest).astype(np.int8)
            end = f"_by_{('row', 'column')[axis]}" if per_channel else ""
            self._weights[key] = (
                self._constant(f"{name}_int8{end}", whole),
                self._constant(f"{name}_scale{end}", scale.reshape(-1) if per_channel else scale.reshape(())),
            )
        return self._weights[key]

    def _column(self, scale: ir.Value) -> ir.Value:
        """Return the vector as a matrix of one column, so that a lookup in it multiplies rows."""
        name = f"{scale.name}_column"
        if name not in self._graph.initializers:
            assert scale.const_value is not None
            self._constant(name, scale.const_value.numpy().reshape(-1, 1))
        return self._graph.initializers[name]

    def _constant(self, name: str, numbers: np.ndarray) -> ir.Value:
        value = ir.val(name, const_value=ir.tensor(numbers, name=name))
        self._graph.register_initializer(value)
        return value


def _scale(numbers: np.ndarray, *, axis: int | None, largest: int) -> np.ndarray:
    magnitude = np.abs(numbers).max(axis=axis, keepdims=True).astype(np.float32)
    return np.where(magnitude > 0, magnitude / np.float32(largest), np.float32(1)).astype(np.float32)
