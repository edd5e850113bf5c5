"""What an ONNX file says of itself, read from its bytes without loading it: its inputs, its outputs, its maker.

It walks the protobuf messages of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto and skips the rest, so a graph
of gigabytes costs milliseconds and no memory. It knows no bundle.
"""

from dataclasses import dataclass
from pathlib import Path

from ..errors import UnsupportedError
from .protobuf import fields, message, reading, text
from .signature import Tensor

# TensorProto.DataType -> numpy's name.
_NAMES = "float32 uint8 int8 uint16 int16 int32 int64 object bool float16 float64 uint32 uint64"
_TYPES = {**dict(enumerate(_NAMES.split(), 1)), 16: "bfloat16"}
# Numbers of fields.
_MODEL_PRODUCER, _MODEL_PRODUCER_VERSION, _MODEL_GRAPH = 2, 3, 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 5, 11, 12
_TENSOR_NAME = 8
DTYPES = frozenset(_TYPES.values())


@dataclass(frozen=True)
class Header:
    """A graph's inputs and outputs; `optional` inputs have a value.

    `skips_padding` says that its attention takes rows from their first token on (GroupQueryAttention), so that it
    misreads rows that are padded on the left.
    """

    inputs: tuple[Tensor, ...]
    optional: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    producer: str
    producer_version: str
    skips_padding: bool


def read_header(path: Path) -> Header:
    """Read the header of an ONNX file.

    Raises
    ------
    IntegrityError
        It is broken, or a pointer of Git LFS.
    UnsupportedError
        An input or output is of a type that has no array.

    """
    with reading(path) as model:
        return _header(model)


def _header(model: memoryview) -> Header:
    texts = dict.fromkeys((_MODEL_PRODUCER, _MODEL_PRODUCER_VERSION), "")
    graph = None
    for number, value in fields(model):
        if number in texts:
            texts[number] = text(value)
        elif number == _MODEL_GRAPH and graph is None:
            graph = message(value)
        elif number == _MODEL_GRAPH:
            raise ValueError("it contains two graphs")
    if graph is None:
        raise ValueError("it contains no graph")
    ends: dict[int, list[Tensor]] = {_GRAPH_INPUT: [], _GRAPH_OUTPUT: []}
    weights: set[str] = set()
    skips_padding = False
    for number, value in fields(graph):
        if number in ends:
            ends[number].append(_tensor(message(value)))
        elif number == _GRAPH_INITIALIZER:
            weights |= {text(given) for key, given in fields(message(value)) if key == _TENSOR_NAME}
        elif number == _GRAPH_NODE:
            skips_padding = skips_padding or b"GroupQueryAttention" in bytes(message(value))
    inputs = tuple(tensor for tensor in ends[_GRAPH_INPUT] if tensor.name not in weights)
    optional = tuple(tensor for tensor in ends[_GRAPH_INPUT] if tensor.name in weights)
    producer, version = texts.values()
    return Header(inputs, optional, tuple(ends[_GRAPH_OUTPUT]), producer, version, skips_padding)


def _tensor(info: memoryview) -> Tensor:
    told = dict(fields(info))
    name = text(told[1])
    kinds = dict(fields(message(told[2])))
    if 1 not in kinds:
        raise UnsupportedError(f"'{name}' of the graph is not a tensor: export the checkpoint otherwise")
    tensor = dict(fields(message(kinds[1])))
    if tensor.get(1) not in _TYPES:
        raise UnsupportedError(f"'{name}' of the graph has ONNX's type {tensor.get(1)}, which has no numpy array")
    axes = [_axis(message(value)) for number, value in fields(message(tensor.get(2, b""))) if number == 1]
    named = (f"{name}.{index}" if axis is None else axis for index, axis in enumerate(axes))
    return Tensor(name, _TYPES[int(tensor[1])], tuple(named))


def _axis(dimension: memoryview) -> int | str | None:
    """Return a size, the name of an axis, or None for one that is not named."""
    told = dict(fields(dimension))
    return int(told[1]) if 1 in told else (text(told[2]) or None) if 2 in told else None
