"""What an ONNX file says of itself, read from its bytes without loading it: inputs, outputs, files of its weights.

It walks the protobuf messages of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto and skips the rest, so a graph
of gigabytes costs milliseconds and no memory. It knows no bundle.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import IntegrityError, UnsupportedError
from .signature import Tensor

# TensorProto.DataType -> numpy's name.
_NAMES = "float32 uint8 int8 uint16 int16 int32 int64 object bool float16 float64 uint32 uint64"
_DTYPES = {**dict(enumerate(_NAMES.split(), 1)), 16: "bfloat16"}
# Numbers of fields.
_MODEL_PRODUCER, _MODEL_PRODUCER_VERSION, _MODEL_GRAPH = 2, 3, 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 5, 11, 12
_TENSOR_NAME, _TENSOR_EXTERNAL = 8, 13
_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Header:
    """A graph's inputs, its outputs, and the files beside it that hold weights; `optional` inputs have a value.

    `skips_padding` says that its attention takes rows from their first token on (GroupQueryAttention), so that it
    misreads rows that are padded on the left.
    """

    inputs: tuple[Tensor, ...]
    optional: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    data: tuple[str, ...]
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
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if content[: len(_POINTER)] == _POINTER:
            raise IntegrityError(f"'{path}' is a pointer of Git LFS, not the graph: run 'git lfs pull' in its folder")
        return _header(memoryview(content))
    except (ValueError, LookupError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise IntegrityError(f"'{path}' is no ONNX graph, or a part of one ({reason}): get the file again") from error


def _header(model: memoryview) -> Header:
    texts = dict.fromkeys((_MODEL_PRODUCER, _MODEL_PRODUCER_VERSION), "")
    graph = None
    for number, value in _fields(model):
        if number in texts:
            texts[number] = _text(value)
        elif number == _MODEL_GRAPH:
            graph = _message(value)
    if graph is None:
        raise ValueError("it holds no graph")
    ends: dict[int, list[Tensor]] = {_GRAPH_INPUT: [], _GRAPH_OUTPUT: []}
    weights: set[str] = set()
    data: set[str] = set()
    skips_padding = False
    for number, value in _fields(graph):
        if number in ends:
            ends[number].append(_tensor(_message(value)))
        elif number == _GRAPH_INITIALIZER:
            name, location = _initializer(_message(value))
            weights.add(name)
            data |= {location} if location else set()
        elif number == _GRAPH_NODE:
            skips_padding = skips_padding or b"GroupQueryAttention" in bytes(_message(value))
    inputs = tuple(tensor for tensor in ends[_GRAPH_INPUT] if tensor.name not in weights)
    optional = tuple(tensor for tensor in ends[_GRAPH_INPUT] if tensor.name in weights)
    producer, version = texts.values()
    return Header(inputs, optional, tuple(ends[_GRAPH_OUTPUT]), tuple(sorted(data)), producer, version, skips_padding)


def _tensor(info: memoryview) -> Tensor:
    fields = dict(_fields(info))
    name = _text(fields[1])
    kinds = dict(_fields(_message(fields[2])))
    if 1 not in kinds:
        raise UnsupportedError(f"'{name}' of the graph is no tensor: export the checkpoint otherwise")
    tensor = dict(_fields(_message(kinds[1])))
    if tensor.get(1) not in _DTYPES:
        raise UnsupportedError(f"'{name}' of the graph has ONNX's type {tensor.get(1)}, which has no numpy array")
    axes = [_axis(_message(value)) for number, value in _fields(_message(tensor.get(2, b""))) if number == 1]
    named = (f"{name}.{index}" if axis is None else axis for index, axis in enumerate(axes))
    return Tensor(name, _DTYPES[int(tensor[1])], tuple(named))


def _axis(dimension: memoryview) -> int | str | None:
    """Return a size, the name of an axis, or None for one that is not named."""
    fields = dict(_fields(dimension))
    return int(fields[1]) if 1 in fields else (_text(fields[2]) or None) if 2 in fields else None


def _initializer(tensor: memoryview) -> tuple[str, str | None]:
    """Return a weight's name, and the file that holds it if it is another."""
    name, location = "", None
    for number, value in _fields(tensor):
        if number == _TENSOR_NAME:
            name = _text(value)
        elif number == _TENSOR_EXTERNAL:
            entry = {key: _text(item) for key, item in _fields(_message(value))}
            location = entry.get(2) if entry.get(1) == "location" else location
    return name, location


Value = int | memoryview


def _fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield the number and the value of each field of a protobuf message (https://protobuf.dev/programming-guides/encoding)."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        size, at = (_FIXED[kind], at) if kind in _FIXED else _varint(message, at)
        if kind not in {1, 2, 5} or at + size > len(message):
            raise ValueError("it is truncated or no protobuf")
        yield key >> 3, message[at : at + size]
        at += size


_FIXED = {1: 8, 5: 4}


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = message[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("it is no protobuf")


def _message(value: Value | bytes) -> memoryview:
    if isinstance(value, int):
        raise ValueError("it is no ONNX")  # noqa: TRY004 - a file's content is wrong, not an argument's type
    return memoryview(value)


def _text(value: Value) -> str:
    return bytes(_message(value)).decode("utf-8")
