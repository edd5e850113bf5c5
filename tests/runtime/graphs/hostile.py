"""Graphs whose tensors lie where the graph chooses, in every place of a model that a tensor can be in."""

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper

MARKER = "*/_ORT_MEM_ADDR_/*"
SIZE = 16
DATA = "model.onnx_data"
ZEROS = np.zeros(4, np.float32)
OPSETS = [helper.make_opsetid("", 20)]


def external(location=MARKER, name="w", **entries):
    """Return a float32 tensor of four numbers that lie elsewhere."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": "0", "length": str(SIZE), **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def sparse(values, indices=None):
    made = onnx.SparseTensorProto(dims=[8])
    made.values.CopyFrom(values)
    made.indices.CopyFrom(indices or onnx.numpy_helper.from_array(np.arange(4), "indices"))
    return made


def constant(tensor, output="w"):
    node = helper.make_node("Constant", [], [output])
    node.attribute.add(name="value", type=AttributeProto.TENSOR).t.CopyFrom(tensor)
    return node


def with_attribute(kind, field, *values):
    """Return a node with one attribute that holds these messages."""
    node = helper.make_node("Custom", ["x"], ["w"], domain="others")
    attribute = node.attribute.add(name="held", type=kind)
    held = getattr(attribute, field)
    if hasattr(held, "extend"):
        held.extend(values)
    else:
        held.CopyFrom(values[0])
    return node


def body(tensor):
    """Return a branch that gives one tensor."""
    return helper.make_graph([constant(tensor)], "body", [], [helper.make_tensor_value_info("w", 1, [4])])


def branch(inner):
    """Return an If whose branches are this graph, and the condition that it reads."""
    yes = onnx.numpy_helper.from_array(np.array(True), "yes")
    return [constant(yes, "yes"), helper.make_node("If", ["yes"], ["w"], then_branch=inner, else_branch=inner)]


def looping(operator, tensor):
    node = helper.make_node(operator, ["x", "x"], ["w"])
    node.attribute.add(name="body", type=AttributeProto.GRAPH).g.CopyFrom(body(tensor))
    return node


def nested(depth, tensor):
    inner = body(tensor)
    for _ in range(depth):
        inner = helper.make_graph(branch(inner), "body", [], [helper.make_tensor_value_info("w", 1, [4])])
    return inner


def model(*nodes, initializers=(), sparse_initializers=(), functions=(), training=()):
    ends = [[helper.make_tensor_value_info(name, 1, ["batch", 4])] for name in ("x", "y")]
    graph = helper.make_graph(
        [*nodes, helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        *ends,
        initializer=initializers,
        sparse_initializer=sparse_initializers,
    )
    made = helper.make_model(graph, opset_imports=OPSETS, ir_version=10, functions=functions)
    made.training_info.extend(training)
    return made


def function(*nodes, **attributes):
    made = helper.make_function("others", "Held", [], ["w"], list(nodes), OPSETS)
    made.attribute_proto.extend(attributes.get("defaults", ()))
    return made


def training(**graphs):
    made = onnx.TrainingInfoProto()
    for name, graph in graphs.items():
        getattr(made, name).CopyFrom(graph)
    return made


def default(tensor):
    attribute = AttributeProto(name="held", type=AttributeProto.TENSOR)
    attribute.t.CopyFrom(tensor)
    return attribute


PLACES = {
    "initializer": lambda t: model(initializers=[t]),
    "constant": lambda t: model(constant(t)),
    "constant of another operator": lambda t: model(with_attribute(AttributeProto.TENSOR, "t", t)),
    "list of tensors": lambda t: model(with_attribute(AttributeProto.TENSORS, "tensors", t)),
    "sparse constant": lambda t: model(with_attribute(AttributeProto.SPARSE_TENSOR, "sparse_tensor", sparse(t))),
    "sparse indices": lambda t: model(
        with_attribute(AttributeProto.SPARSE_TENSOR, "sparse_tensor", sparse(onnx.numpy_helper.from_array(ZEROS), t))
    ),
    "list of sparse": lambda t: model(with_attribute(AttributeProto.SPARSE_TENSORS, "sparse_tensors", sparse(t))),
    "sparse initializer": lambda t: model(sparse_initializers=[sparse(t)]),
    "if": lambda t: model(*branch(body(t))),
    "if, twice": lambda t: model(*branch(nested(1, t))),
    "if, ten times": lambda t: model(*branch(nested(9, t))),
    "loop": lambda t: model(looping("Loop", t)),
    "scan": lambda t: model(looping("Scan", t)),
    "list of graphs": lambda t: model(with_attribute(AttributeProto.GRAPHS, "graphs", body(t))),
    "initializer of a subgraph": lambda t: model(
        *branch(helper.make_graph([], "body", [], [helper.make_tensor_value_info("w", 1, [4])], initializer=[t]))
    ),
    "function": lambda t: model(
        helper.make_node("Held", [], ["w"], domain="others"), functions=[function(constant(t))]
    ),
    "subgraph of a function": lambda t: model(functions=[function(*branch(body(t)))]),
    "default of a function": lambda t: model(functions=[function(constant(t), defaults=[default(t)])]),
    "training": lambda t: model(training=[training(algorithm=body(t))]),
    "training's start": lambda t: model(training=[training(initialization=body(t))]),
}


def calling(*functions):
    """Return a model of functions, each a name and the operators that it calls one after another; it calls the last."""
    imports = [*OPSETS, helper.make_opsetid("own", 1)]
    known = {name for name, _ in functions}

    def called(operator, start, end):
        return helper.make_node(operator, [start], [end], domain="own" if operator in known else "")

    def made(name, operators):
        steps = [f"step_{index}" for index in range(len(operators) - 1)]
        ends = zip(operators, ["a", *steps], [*steps, "b"], strict=True)
        return helper.make_function("own", name, ["a"], ["b"], [called(*end) for end in ends], imports)

    given = model(called(functions[-1][0], "x", "w"), functions=[made(*function) for function in functions])
    given.opset_import.append(imports[-1])
    return given


def doubling(levels):
    """Return a model that comes to 2 to the power of `levels` nodes."""
    return calling(*((f"F{level}", [f"F{level - 1}" if level else "Neg"] * 2) for level in range(levels)))
