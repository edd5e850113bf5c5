"""A graph of a few layers becomes one of all: layers that are alike differ in their weights and their cache only.

1. A node belongs to the layer that its scope names. What goes from layer to layer is the one float value of its rank
   that a layer makes and only the next one reads.
2. A new layer is its template's nodes again, on what the layer before it gave, with its own weights and cache. Masks,
   tables and sizes serve all layers, and so does what a template computes from such alone.
3. What read the last traced layer reads the last one.
4. A graph that is not of this form (states read by others than the next layer, graphs inside a layer) is refused.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir
import torch
from onnx_ir.passes import common
from onnx_ir.tensor_adapters import TorchTensor

from ....runtime.graphs.signature import PAST, PRESENT
from ..running import Refusal

_SCOPES = "pkg.torch.onnx.name_scopes"
_GRAPHS = frozenset({onnx_ir.AttributeType.GRAPH, onnx_ir.AttributeType.GRAPHS})


@dataclass(frozen=True)
class Depth:
    """What a stack of layers is called, and which of the first ones, the traced, each layer is like.

    `weights` are those of all layers, by their names in the model.
    """

    path: str
    templates: Sequence[int]
    weights: Mapping[str, torch.Tensor]

    @property
    def traced(self) -> int:
        """How many layers the graph has."""
        return 1 + max(self.templates)


def deepen_stacks(model: onnx_ir.Model, depths: Sequence[Depth]) -> None:
    """Give each stack of which few layers were traced all of them, in place. Raises Refusal."""
    for depth in depths:
        common.RemoveUnusedNodesPass()(model)
        deepen_stack(model, depth)


def deepen_stack(model: onnx_ir.Model, depth: Depth) -> None:
    """Give the graph all layers, in place; one that has none of the stack stays as it is. Raises Refusal."""
    graph = model.graph
    layers = _layers(graph, depth.path)
    if not layers:
        return
    if sorted(layers) != list(range(depth.traced)):
        raise Refusal(f"of {depth.path} the graph has the layers {sorted(layers)}, not the first {depth.traced}")
    states = _states([layers[index] for index in range(depth.traced)])
    last, after = states[-1], layers[depth.traced - 1][-1]
    readers = [use for use in last.uses() if use.node not in layers[depth.traced - 1]]
    state = last
    for index in range(depth.traced, len(depth.templates)):
        template = depth.templates[index]
        copy = _Layer(graph, depth, template, index, {states[template - 1]: state})
        nodes = [made for node in layers[template] if (made := copy.node(node))]
        graph.insert_after(after, nodes)
        after, state = nodes[-1], copy.values[states[template]]
    for node, position in readers:
        node.replace_input_with(position, state)
    for position, output in enumerate(graph.outputs):
        if output is last:
            last.name, state.name = state.name, last.name
            graph.outputs[position] = state
    graph.sort()


def _layers(graph: onnx_ir.Graph, path: str) -> dict[int, list[onnx_ir.Node]]:
    """Return the nodes of each layer of the stack, in order."""
    scope, found = re.compile(rf"'{re.escape(path)}\.(\d+)'"), dict[int, list[onnx_ir.Node]]()
    for node in graph:
        if match := scope.search(node.metadata_props.get(_SCOPES, "")):
            found.setdefault(int(match[1]), []).append(node)
    return found


def _states(layers: Sequence[list[onnx_ir.Node]]) -> list[onnx_ir.Value]:
    """Return what each layer hands on; raise Refusal if it is not one value, for the next layer alone."""
    given = [_given(nodes) for nodes in layers]
    ranks = {_rank(value) for value in given[-1]}
    states = []
    for index, values in enumerate(given):
        found = [value for value in values if _rank(value) in ranks]
        if len(found) != 1:
            raise Refusal(f"layer {index} hands on {len(found)} values")
        around = {node for nodes in layers[index : index + 2] for node in nodes}
        if index < len(layers) - 1 and any(use.node not in around for use in found[0].uses()):
            raise Refusal(f"what layer {index} outputs is read beyond the next one")
        states += found
    return states


def _given(nodes: list[onnx_ir.Node]) -> list[onnx_ir.Value]:
    """Return the float values of a layer that something outside of it reads."""
    inside = set(nodes)
    values = [value for node in nodes if node.op_type != "Constant" for value in node.outputs]
    return [
        value
        for value in values
        if value.dtype == onnx_ir.DataType.FLOAT
        and not str(value.name).startswith(PRESENT)
        and (value.is_graph_output() or any(use.node not in inside for use in value.uses()))
    ]


def _rank(value: onnx_ir.Value) -> int | None:
    return len(value.shape) if value.shape is not None else None


@dataclass
class _Layer:
    """A layer in the making: its template's nodes, with `values` of its own in place of the template's."""

    graph: onnx_ir.Graph
    depth: Depth
    template: int
    index: int
    values: dict[onnx_ir.Value, onnx_ir.Value] = field(default_factory=dict)

    def node(self, node: onnx_ir.Node) -> onnx_ir.Node | None:
        """Return the node again, on this layer's values; None if it reads nothing that is a layer's own."""
        inputs = [self._input(value) for value in node.inputs]
        if all(mine is value for mine, value in zip(inputs, node.inputs, strict=True)):
            return None
        if any(attribute.type in _GRAPHS for attribute in node.attributes.values()):
            raise Refusal(f"a {node.op_type} inside a layer contains a graph")
        made = onnx_ir.Node(
            node.domain,
            node.op_type,
            inputs,
            node.attributes.values(),
            overload=node.overload,
            num_outputs=len(node.outputs),
            version=node.version,
            name=f"{node.name or node.outputs[0].name}.{self.depth.path}.{self.index}",
        )
        for old, new in zip(node.outputs, made.outputs, strict=True):
            self._take_over(old, new, self._renamed(old, PRESENT[:-1]) or f"{old.name}.{self.depth.path}.{self.index}")
            if old.is_graph_output() and self._renamed(old, PRESENT[:-1]):
                self.graph.outputs.append(new)
        return made

    def _input(self, value: onnx_ir.Value | None) -> onnx_ir.Value | None:
        if value is None or value in self.values:
            return self.values[value] if value is not None else None
        if value.is_graph_input() and (name := self._renamed(value, PAST[:-1])):
            self._take_over(value, onnx_ir.Value(), name)
            self.graph.inputs.append(self.values[value])
        elif value.is_initializer() and (name := self._renamed(value, self.depth.path)):
            if name not in self.depth.weights:
                raise Refusal(f"layer {self.index} has no weight '{name}'")
            self._take_over(value, onnx_ir.Value(), name)
            self.values[value].const_value = TorchTensor(self.depth.weights[name], name=name)
            self.graph.register_initializer(self.values[value])
        return self.values.get(value, value)

    def _take_over(self, old: onnx_ir.Value, new: onnx_ir.Value, name: str) -> None:
        new.name, new.type, new.shape = name, old.type, old.shape.copy() if old.shape is not None else None
        self.values[old] = new

    def _renamed(self, value: onnx_ir.Value, prefix: str) -> str | None:
        """Return this layer's name for what is the template's by its name."""
        start, name = f"{prefix}.{self.template}.", str(value.name)
        return f"{prefix}.{self.index}.{name.removeprefix(start)}" if name.startswith(start) else None
