"""Turn a portable float32 graph into half precision, float16 or bfloat16, with what would lose its meaning kept safe.

1. Products (MatMul, Gemm, Conv) and what only moves numbers or works on each alone take the half type; so do Softmax
   and LayerNormalization, whose kernels sum in float32 by definition or by convention.
2. Statistics stay float32: sums, means, powers, roots, exponentials, and what is computed from a value and its own
   statistic, such as `x - mean` or `x * rsqrt`: a norm that is written out is whole.
3. What is computed from whole numbers alone stays float32 until it meets data: positions, angles, masks. A mask's
   lowest number, which half precision would make infinite, is brought within range there.
4. Caches (`past_key_values.*`, `present.*`) are half; other inputs and outputs stay float32.
5. An operator that this file does not know stays float32, and so do the types in `keep`.
6. What QuantizeLinear pairs give is half: a product reads it as it is.
7. Products with the weights in `exact` stay float32, and so does what they are added to: a residual stream that
   overflows half precision, as T5's does.
8. Convolutions take bfloat16 from opset 22 on, which nothing else here tells from opset 20.

Precision is then a property of the graph, which strongly typed builders and every execution provider obey. `emulate`
makes of it a float32 graph that rounds wherever it would: what a CPU without half-precision kernels can run.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from ....runtime.errors import ExportError
from ....runtime.graphs.signature import is_state

DTYPES = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
_FLOAT = ir.DataType.FLOAT
# Finite numbers beyond the range become a quarter of it, so that a score added to them is still finite.
_MOST = {ir.DataType.FLOAT16: 65504.0, ir.DataType.BFLOAT16: 3.3895e38}

_BFLOAT16_OPSET = 22

_KINDS: Mapping[str, str] = {
    "moves": (
        "Concat DepthToSpace Expand Flatten Gather GatherElements GatherND Identity Reshape ScatterElements ScatterND "
        "Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze"
    ),
    "products": "MatMul Gemm Conv ConvTranspose Attention Softmax LayerNormalization RMSNormalization",
    "each": (
        "Abs Add Clip Div Elu Erf Gelu HardSigmoid HardSwish LeakyRelu Max Min Mish Mul Neg PRelu Pad Relu Sigmoid Sub "
        "Tanh Where MaxPool AveragePool"
    ),
}
_MOVES, _PRODUCTS, _EACH = (frozenset(names.split()) for names in _KINDS.values())
_PAIRS = frozenset({"QuantizeLinear", "DequantizeLinear"})
_READS_SHAPE = frozenset({"Shape", "Size"})


def to_half(model: ir.Model, dtype: ir.DataType, *, keep: Collection[str] = (), exact: Collection[str] = ()) -> None:
    """Convert the graph in place to `dtype` (FLOAT16 or BFLOAT16).

    Operator types in `keep`, and products with the weights named in `exact`, stay float32.

    Raises ExportError for a graph with branches.
    """
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.ShapeInferencePass()(model)
    _Converter(model.graph, dtype, frozenset(keep), frozenset(exact)).convert()
    if dtype == ir.DataType.BFLOAT16:
        model.graph.opset_imports[""] = max(model.graph.opset_imports[""], _BFLOAT16_OPSET)
    common.RemoveUnusedNodesPass()(model)


@dataclass(frozen=True)
class _State:
    """What is known of a float value.

    `half`: stored in half precision. `data`: depends on weights that were looked up or on float inputs. `statistic`: a
    sum or the like of data, or computed from such alone. `wide`: may hold numbers beyond the half type's range.
    `exact`: has an exact product among its terms.
    """

    half: bool = False
    data: bool = False
    statistic: bool = False
    wide: bool = False
    exact: bool = False


@dataclass
class _Converter:
    graph: ir.Graph
    dtype: ir.DataType
    keep: frozenset[str]
    exact: frozenset[str]
    states: dict[ir.Value, _State] = field(default_factory=dict)
    cast: dict[tuple[ir.Value, bool], ir.Value] = field(default_factory=dict)

    def convert(self) -> None:
        for value in self.graph.inputs:
            if value.dtype == _FLOAT:
                half = is_state(str(value.name))
                self.states[value] = _State(half=half, data=True)
                if half:
                    value.type = ir.TensorType(self.dtype)
        for node in list(self.graph):
            self._convert(node)
        for index, value in enumerate(self.graph.outputs):
            if value in self.states:
                self.graph.outputs[index] = self._output(value)

    def _convert(self, node: ir.Node) -> None:
        if any(isinstance(attribute.value, ir.Graph) for attribute in node.attributes.values()):
            raise ExportError(
                f"node '{node.name}' ({node.op_type}) has branches, which no half-precision graph may have"
            )
        floats = [value for value in node.inputs if value is not None and self._is_float(value)]
        if node.op_type in _READS_SHAPE:
            return
        state = self._state(node, floats)
        for index, value in enumerate(node.inputs):
            if value is not None and self._is_float(value):
                node.replace_input_with(index, self._as(value, half=state.half, before=node))
        for value in node.outputs:
            if value.dtype == _FLOAT:
                self.states[value] = state
                if state.half:
                    value.type = ir.TensorType(self.dtype)

    def _state(self, node: ir.Node, floats: list[ir.Value]) -> _State:
        known = [self.states[value] for value in floats if value in self.states]
        data = [state for state in known if state.data]
        wide = any(state.wide for state in known) or any(self._is_wide(value) for value in floats)
        looked_up = node.op_type in {"Gather", "GatherElements", "GatherND"} and not known and bool(floats)
        if node.domain or node.op_type in self.keep:
            return _State(data=bool(data) or looked_up, wide=wide)
        if looked_up or node.op_type in _PAIRS:
            return _State(half=True, data=True)
        if not data:
            return _State(wide=wide)
        if node.op_type in _PRODUCTS:
            exact = any(value.name in self.exact for value in floats)
            return _State(half=not exact, data=True, exact=exact)
        if node.op_type not in _MOVES | _EACH:
            return _State(data=True, statistic=node.op_type.startswith("Reduce") or _all_statistics(data))
        statistic = any(state.statistic for state in data)
        exact = any(state.exact for state in data)
        high = statistic or exact or not any(state.half for state in data)
        return _State(half=not high, data=True, statistic=_all_statistics(data), exact=exact)

    def _as(self, value: ir.Value, *, half: bool, before: ir.Node) -> ir.Value:
        """Return the value in half precision or in float32, cast once wherever it is read."""
        state = self.states.get(value)
        if state is None:
            return self._constant(value) if half else value
        if state.half == half:
            return value
        if (value, half) not in self.cast:
            self.cast[value, half] = self._insert(value, state, half=half, before=before)
        return self.cast[value, half]

    def _insert(self, value: ir.Value, state: _State, *, half: bool, before: ir.Node) -> ir.Value:
        """Cast before the first node that reads it so: nodes are in order, so that is before all of them."""
        source, new = value, []
        if half and state.wide:
            limits = [self._scalar(name, number) for name, number in self._limits()]
            new.append(ir.node("Clip", [value, *limits], name=f"{value.name}_clipped"))
            new[-1].outputs[0].name, new[-1].outputs[0].type = f"{value.name}_clipped", ir.TensorType(_FLOAT)
            source = new[-1].outputs[0]
        new.append(cast_node(source, self.dtype if half else _FLOAT, f"{value.name}_{'half' if half else 'float'}"))
        self.graph.insert_before(before, new)
        return new[-1].outputs[0]

    def _output(self, value: ir.Value) -> ir.Value:
        half, name = is_state(str(value.name)), str(value.name)
        if self.states[value].half == half:
            return value
        node = cast_node(value, self.dtype if half else _FLOAT, name)
        value.name = f"{name}_{'float' if half else 'half'}"
        self.graph.append(node)
        return node.outputs[0]

    def _constant(self, value: ir.Value) -> ir.Value:
        """Return the half form of an initializer."""
        assert value.const_value is not None
        if (value, True) not in self.cast:
            numbers = _within(value.const_value.numpy(), _MOST[self.dtype])
            name = f"{value.name}_half"
            tensor = ir.tensor(numbers.astype(self.dtype.numpy()), dtype=self.dtype, name=name)
            self.cast[value, True] = ir.val(name, const_value=tensor)
            self.graph.register_initializer(self.cast[value, True])
        return self.cast[value, True]

    def _scalar(self, name: str, number: float) -> ir.Value:
        if name not in self.graph.initializers:
            tensor = ir.tensor(np.array(number, np.float32), name=name)
            self.graph.register_initializer(ir.val(name, const_value=tensor))
        return self.graph.initializers[name]

    def _limits(self) -> Iterator[tuple[str, float]]:
        most = _MOST[self.dtype] / 4
        yield from (("half_lowest", -most), ("half_highest", most))

    def _is_float(self, value: ir.Value) -> bool:
        """Whether it was float32 in the graph that came in."""
        return value in self.states or (value.is_initializer() and value.dtype == _FLOAT)

    def _is_wide(self, value: ir.Value) -> bool:
        tensor = value.const_value
        return tensor is not None and tensor.size == 1 and bool(abs(tensor.numpy()).max() > _MOST[self.dtype])


def _all_statistics(data: list[_State]) -> bool:
    return all(state.statistic for state in data)


def _within(numbers: np.ndarray, most: float) -> np.ndarray:
    """Return the numbers with finite ones beyond `most` at a quarter of it."""
    beyond = np.isfinite(numbers) & (np.abs(numbers) > most)
    return np.where(beyond, np.sign(numbers) * np.float32(most / 4), numbers) if beyond.any() else numbers


def cast_node(value: ir.Value, dtype: ir.DataType, name: str) -> ir.Node:
    """Return a Cast whose output has this name."""
    node = ir.node("Cast", [value], {"to": dtype}, name=f"{name}.{dtype.name.lower()}")
    output = node.outputs[0]
    output.name, output.type, output.shape = name, ir.TensorType(dtype), value.shape
    return node


def emulate(model: ir.Model) -> None:
    """Turn a half-precision graph, in place, into one in float32 that rounds every result as that would.

    Sums within an operator stay float32, as tensor cores keep them. Inputs and outputs are float32.
    """
    half = frozenset(DTYPES.values())
    for value in model.graph.initializers.values():
        if value.dtype in half:
            assert value.const_value is not None
            numbers = value.const_value.numpy().astype(np.float32)
            value.const_value = ir.tensor(numbers, name=value.name)
            value.type = ir.TensorType(_FLOAT)
    for value in model.graph.inputs:
        if value.dtype in half:
            value.type = ir.TensorType(_FLOAT)
    for node in list(model.graph):
        for value in node.outputs:
            if value.dtype in half:
                _round(model.graph, node, value)


def _round(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    dtype = value.dtype
    assert dtype is not None
    if node.op_type in _MOVES:
        value.type = ir.TensorType(_FLOAT)
        return
    name = str(value.name)
    down = [] if node.op_type == "Cast" else [cast_node(value, dtype, f"{name}_rounded")]
    if down:
        value.type = ir.TensorType(_FLOAT)
    up = cast_node(down[0].outputs[0] if down else value, _FLOAT, name)
    ir.convenience.replace_all_uses_with(value, up.outputs[0], replace_graph_outputs=True)
    (down[0] if down else up).replace_input_with(0, value)
    value.name = f"{name}_exact"
    graph.insert_after(node, [*down, up])
