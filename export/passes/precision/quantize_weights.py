"""Store the weights of a portable graph in 4 or 8 bits, activations as they were.

1. `MatMul(x, W)` and `Gemm(x, W, c)` with a constant float32 matrix W, or with the transpose of one, become
   `com.microsoft.MatMulNBits`. A width that is no multiple of the block is filled up: the operator knows K.
2. The head, the layer whose result is the output `logits`, may have bits of its own.
3. With `embeddings`, `Gather(W, ids)` along rows becomes `com.microsoft.GatherBlockQuantized`.
4. A table that is both embedding and head is stored once: the two operators read the same bytes in two shapes, so
   two tensors of the graph name one place in the data file. Scales and zero points they share outright. A table
   that one of them keeps in float32 stays float32 for the lookup too: a second copy would cost, not save.
5. A weight with fewer than 16 rows or columns stays, and so does what `skip` names.
6. A layer's name is the name of its output, which every graph has; the new node bears it.

Axes keep their names; the result is a function of the graph's bytes.
"""

from collections.abc import Collection

import numpy as np
import onnx_ir
from onnx_ir.passes import common

from ....profiles import ProfileError, WeightQuantization
from ....runtime.errors import UnsupportedError, UsageError
from ..reading.blocks import Blocks, quantize_blocks
from ..reading.layers import Weight, is_lookup, layer_weight

LOGITS = "logits"
_CONTRIB = "com.microsoft"
# What may stand between the head and the output: it passes the logits on, number by number.
_PASSING = {"Cast", "Identity", "Mul", "Div", "Tanh", "Slice", "Add", "Reshape", "Squeeze"}


def quantize_weights(
    graph: onnx_ir.Model,
    *,
    bits: int,
    block_size: int,
    accuracy_level: int = 4,
    head_bits: int | None = None,
    embeddings: bool = False,
    symmetric: bool = False,
    skip: Collection[str] = (),
    eight: Collection[str] = (),
) -> None:
    """Quantize the weights of a float32 graph, in place.

    `accuracy_level` 4 multiplies in int8; 0 and 1 multiply in float32, for which ONNX Runtime's CPU provider has no
    fast kernel at 8 bits. Zero points, unless `symmetric`, cost a few percent of time and size and fit skewed blocks.
    The layers and lookups named in `skip` stay float32, those in `eight` take 8 bits: how a graph that fails a gate
    is mended. Without `embeddings` a table that is also the head is kept in float32 for the lookup, and quantized
    for the head.

    Raises
    ------
    UsageError
        A setting or a name that cannot be.
    UnsupportedError
        The graph has no layer to quantize.

    """
    try:
        WeightQuantization(bits=bits, head_bits=head_bits, block_size=block_size, accuracy_level=accuracy_level)
    except ProfileError as error:
        raise UsageError(str(error)) from error
    quantizer = _Quantizer(graph.graph, block_size, accuracy_level, symmetric=symmetric)
    for node, width in _chosen(graph.graph, bits, head_bits or bits, embeddings=embeddings, skip=skip, eight=eight):
        quantizer.replace(node, width)
    graph.opset_imports[_CONTRIB] = 1
    common.RemoveUnusedNodesPass()(graph)


def quantizable(graph: onnx_ir.Graph, *, embeddings: bool = True) -> tuple[str, ...]:
    """Return the names of the layers, and of the lookups if `embeddings`, that quantization would replace."""
    return tuple(_name(node) for node in _candidates(graph, embeddings=embeddings))


def _chosen(
    graph: onnx_ir.Graph,
    bits: int,
    head_bits: int,
    *,
    embeddings: bool,
    skip: Collection[str],
    eight: Collection[str],
) -> list[tuple[onnx_ir.Node, int]]:
    """Return the nodes to replace, each with its bits: a lookup in a layer's table has the layer's."""
    nodes = _candidates(graph, embeddings=embeddings)
    if unknown := {*skip, *eight} - {_name(node) for node in _candidates(graph, embeddings=True)}:
        raise UsageError(f"skip, eight: the graph has no layer '{min(unknown)}' to quantize: see quantizable()")
    head = _head(graph)
    width = {node: head_bits if node is head else bits for node in nodes}
    width |= {node: 8 for node in nodes if _name(node) in eight}
    width = {node: wide for node, wide in width.items() if _name(node) not in skip}
    for node in (node for node in nodes if is_lookup(node, sides=2)):
        for tied in _tied(node, nodes):
            if tied in width and node in width:
                width[node] = width[tied]
            else:
                width.pop(node, None)
    if not any(layer_weight(node) for node in width):
        raise UnsupportedError("the graph has no linear layer to quantize: use the profile cpu-fp32")
    return list(width.items())


def _candidates(graph: onnx_ir.Graph, *, embeddings: bool) -> list[onnx_ir.Node]:
    return [node for node in graph if layer_weight(node) or (embeddings and is_lookup(node, sides=2))]


def _tied(lookup: onnx_ir.Node, nodes: list[onnx_ir.Node]) -> list[onnx_ir.Node]:
    """Return the layers that read the lookup's table by its rows."""
    weights = ((node, layer_weight(node)) for node in nodes)
    return [node for node, weight in weights if weight and weight.value is lookup.inputs[0] and weight.by_row]


def _head(graph: onnx_ir.Graph) -> onnx_ir.Node | None:
    """Return the layer that makes the logits, seen through what only passes them on."""
    value = next((output for output in graph.outputs if output.name == LOGITS), None)
    while value is not None and (node := value.producer()) is not None:
        if layer_weight(node):
            return node
        value = node.inputs[0] if node.op_type in _PASSING else None
    return None


class _Quantizer:
    """Replaces nodes of one graph, remembering what it has quantized already."""

    def __init__(self, graph: onnx_ir.Graph, block_size: int, accuracy_level: int, *, symmetric: bool) -> None:
        self._graph = graph
        self._block_size = block_size
        self._accuracy_level = accuracy_level
        self._symmetric = symmetric
        self._stored: dict[tuple[str, bool, int], tuple[Blocks, list[onnx_ir.Value]]] = {}

    def replace(self, node: onnx_ir.Node, bits: int) -> None:
        weight = layer_weight(node)
        new = self._product(node, weight, bits) if weight else self._lookup(node, bits)
        output = node.outputs[0].name
        for position, one in enumerate(new):
            # The last bears the layer's name, by which `skip` knows it.
            one.name = str(output) if one is new[-1] else f"{output}_{position}"
            one.outputs[0].name = f"{output}_{position}"
        onnx_ir.convenience.replace_nodes_and_values(self._graph, node, [node], new, node.outputs, new[-1].outputs)

    def _product(self, node: onnx_ir.Node, weight: Weight, bits: int) -> list[onnx_ir.Node]:
        blocks, tensors = self._weight(weight, bits)
        x, bias = node.inputs[0], node.inputs[2] if len(node.inputs) > 2 else None
        attributes = {
            "K": blocks.columns,
            "N": len(blocks.scales),
            "bits": bits,
            "block_size": self._block_size,
            "accuracy_level": self._accuracy_level,
        }
        product = onnx_ir.node("MatMulNBits", [x, *tensors], attributes, domain=_CONTRIB)
        # Left to Add, which broadcasts as Gemm does; the operator's own bias takes only a vector of N.
        return [product] if bias is None else [product, onnx_ir.node("Add", [product.outputs[0], bias])]

    def _lookup(self, node: onnx_ir.Node, bits: int) -> list[onnx_ir.Node]:
        table, ids = node.inputs
        assert table is not None
        blocks, (packed, *rest) = self._weight(Weight(table, by_row=True), bits)
        attributes = {"bits": bits, "block_size": self._block_size, "gather_axis": 0, "quantize_axis": 1}
        inputs = [self._flat(packed), ids, *rest]
        rows = onnx_ir.node("GatherBlockQuantized", inputs, attributes, domain=_CONTRIB)
        if blocks.columns == blocks.scales.shape[1] * self._block_size:
            return [rows]
        # The last block was filled up: cut the rows back to the table's width.
        bounds = {"first": 0, "width": blocks.columns, "axis": -1}
        cut = [self._constant(f"{table.name}_{name}", np.array([number])) for name, number in bounds.items()]
        return [rows, onnx_ir.node("Slice", [rows.outputs[0], *cut])]

    def _weight(self, weight: Weight, bits: int) -> tuple[Blocks, list[onnx_ir.Value]]:
        """Return a weight's blocks and their tensors: packed numbers, scales, and zero points if there are any."""
        name = str(weight.value.name)
        key = (name, weight.by_row, bits)
        if key not in self._stored:
            blocks = quantize_blocks(weight.rows, bits=bits, block_size=self._block_size, symmetric=self._symmetric)
            stem = f"{name}_q{bits}" + ("_by_row" if weight.by_row else "")
            tensors = [self._constant(stem, blocks.packed), self._constant(f"{stem}_scales", blocks.scales)]
            if blocks.zero_points is not None:
                tensors.append(self._constant(f"{stem}_zeros", blocks.zero_points))
            self._stored[key] = blocks, tensors
        return self._stored[key]

    def _flat(self, packed: onnx_ir.Value) -> onnx_ir.Value:
        """Return the packed numbers as a matrix, the shape in which a lookup reads them."""
        name = f"{packed.name}_flat"
        if name not in self._graph.initializers:
            assert packed.const_value is not None
            numbers = packed.const_value.numpy()
            self._constant(name, numbers.reshape(len(numbers), -1))
        return self._graph.initializers[name]

    def _constant(self, name: str, numbers: np.ndarray) -> onnx_ir.Value:
        if name not in self._graph.initializers:
            value = onnx_ir.val(name, const_value=onnx_ir.tensor(numbers, name=name))
            self._graph.register_initializer(value)
        return self._graph.initializers[name]


def _name(node: onnx_ir.Node) -> str:
    return str(node.outputs[0].name)
