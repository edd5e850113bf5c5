"""Which files beside an ONNX graph it makes a runtime read, wherever in it they are named; it loads nothing.

A runtime opens what a graph names, and one name in ONNX Runtime's means an address of its memory. So every tensor and
node that can name a file is found, in subgraphs, functions and attributes too, and may name files of its folder only.
It walks https://github.com/onnx/onnx/blob/main/onnx/onnx.proto and skips what holds no name. It knows no bundle.
"""

import stat
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PureWindowsPath

from ..errors import IntegrityError
from .functions import check_functions
from .protobuf import Value, fields, message, reading, text

_SUFFIX = ".onnx"  # by other endings runtimes take other formats, which nobody looks into
# What lies in each message, by the number of its field.
_INSIDE: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_NODE_OPERATOR, _NODE_ATTRIBUTE, _TENSOR_EXTERNAL = 4, 5, 13
_ATTRIBUTE_NAME, _ATTRIBUTE_NUMBER, _ATTRIBUTE_TEXT = 1, 3, 4
# What is short and holds none of these names no file; it is searched faster than it is walked.
_SIGNS = (b"location", b"offset", b"length", b"prepacked", b"EPContext")
_SHORT = 4096
_LARGEST = 2**31 - 1  # bytes; protobuf's own limit
_DEEPEST = 100  # messages within messages: protobuf's own limit
_MOST = 1 << 21  # fields; graphs have some thousands
_LOCATION, _OFFSET, _LENGTH = "location", "offset", "length"
_ENTRIES = frozenset({_LOCATION, _OFFSET, _LENGTH, "checksum"})
_PACKED = "prepacked_"
# A node around a provider's own compiled model, as `vitrify build-engine --ep-context` writes it.
_CONTEXT = b"EPContext"
_CONTEXT_FILE, _CONTEXT_EMBEDS = "ep_cache_context", "embed_mode"
_CONTEXT_ATTRIBUTES = frozenset({_CONTEXT_FILE, _CONTEXT_EMBEDS, "main_context", "source", "partition_name"})


def files_beside(path: Path, *, packed: bool = False) -> tuple[str, ...]:
    """Return the names of the files beside a graph that whoever opens it reads, sorted.

    `packed` allows weights as ONNX Runtime packed them, which its kernels take without a look: only of our own making.

    Raises
    ------
    IntegrityError
        It is broken, nested too deep, has functions without an end, or reads what is not a regular file beside it, or
        beyond that file's end.

    """
    if path.suffix != _SUFFIX:
        raise IntegrityError(f"graph '{path}' does not end in '{_SUFFIX}': export or copy the bundle again")
    sizes: dict[str, int] = {}
    for entries in _references_of(path, _stamp(path)):
        name = entries.get(_LOCATION, "")
        if name not in sizes:
            sizes[name] = _size(path, name)
        _check_range(path, entries, sizes[name])
        if unknown := sorted(key for key in entries if not (key in _ENTRIES or (packed and _is_packed(key)))):
            raise _refusal(path, f"says {unknown[0]!r:.80} of its weights, which is not ONNX")
    return tuple(sorted(sizes))


def _stamp(path: Path) -> tuple[int, ...]:
    """Return what changes where a file does; nothing for one that cannot be looked at."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@lru_cache(maxsize=16)  # a bundle asks for a graph's files, and then whoever opens it
def _references_of(path: Path, stamp: tuple[int, ...]) -> tuple[dict[str, str], ...]:  # noqa: ARG001 - a key only
    with reading(path) as model:
        if len(model) > _LARGEST:
            raise ValueError(f"{len(model)} bytes, of at most {_LARGEST}: store larger weights as external data")
        check_functions(model)
        return tuple(_references(model))


def _is_packed(key: str) -> bool:
    return key.startswith(_PACKED)


def _references(model: memoryview) -> Iterator[dict[str, str]]:
    """Yield what each tensor or node of a model that names a file says of it, in the words of external data."""
    left, pending = _MOST, [("model", model, 0)]
    while pending:
        kind, content, depth = pending.pop()
        inside, external = _INSIDE[kind], []
        for number, value in fields(content):
            left -= 1
            if left < 0 or depth > _DEEPEST:
                raise ValueError("it is nested deeper, or has more parts, than a graph has")
            if number in inside and _may_name_files(part := message(value)):
                pending.append((inside[number], part, depth + 1))
            elif kind == "tensor" and number == _TENSOR_EXTERNAL:
                external.append(_entry(value))
            elif kind == "node" and number == _NODE_OPERATOR and message(value) == _CONTEXT:
                yield _context(content)
        if external:
            yield _unique(external)


def _may_name_files(part: memoryview) -> bool:
    if len(part) > _SHORT:
        return True
    short = bytes(part)
    for sign in _SIGNS:  # noqa: SIM110 - `any` takes three times as long
        if sign in short:
            return True
    return False


def _entry(value: Value) -> tuple[str, str]:
    told = {number: text(item) for number, item in fields(message(value))}
    return told.get(1, ""), told.get(2, "")


def _unique(entries: list[tuple[str, str]]) -> dict[str, str]:
    """Return entries by key; raise ValueError for one that is there twice, of which readers choose differently."""
    told = dict(entries)
    if len(told) < len(entries):
        raise ValueError("a field is repeated")
    return told


def _context(node: memoryview) -> dict[str, str]:
    """Return where a node's compiled model is; raise ValueError unless it is a file beside the graph."""
    given = [dict(fields(message(value))) for number, value in fields(node) if number == _NODE_ATTRIBUTE]
    told = {text(each.get(_ATTRIBUTE_NAME, memoryview(b""))): each for each in given}
    if len(told) < len(given) or set(told) - _CONTEXT_ATTRIBUTES or _CONTEXT_FILE not in told:
        raise ValueError("its compiled model is not as vitrify writes it")
    if told.get(_CONTEXT_EMBEDS, {}).get(_ATTRIBUTE_NUMBER, 1) != 0:
        raise ValueError("its compiled model is not a file next to it")
    return {_LOCATION: text(told[_CONTEXT_FILE].get(_ATTRIBUTE_TEXT, memoryview(b"")))}


def _size(path: Path, name: str) -> int:
    """Return the size of a file beside a graph."""
    if (
        name == ".." or not name or "\0" in name or PureWindowsPath(name).name != name
    ):  # which knows both kinds of slashes
        raise _refusal(path, f"wants weights from {name!r:.80}, which is not next to it")
    try:
        found = (path.parent / name).lstat()
    except OSError as error:
        raise IntegrityError(
            f"{name!r:.80}, weights of graph '{path}', is missing ({error.strerror}): export or copy the bundle again"
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise _refusal(path, f"wants weights from {name!r:.80}, which is a link or not a file")
    return found.st_size


def _check_range(path: Path, entries: Mapping[str, str], size: int) -> None:
    numbers = [entries.get(key, "0") for key in (_OFFSET, _LENGTH)]
    fit = all(number.isascii() and number.isdigit() and len(number) <= len(str(size)) for number in numbers)
    if not fit or sum(map(int, numbers)) > size:
        raise IntegrityError(
            f"{entries[_LOCATION]!r:.80}, weights of graph '{path}', is broken or incomplete: {size} bytes, wanted "
            f"{numbers[1]:.20} from {numbers[0]:.20} on: export or copy the bundle again"
        )


def _refusal(path: Path, why: str) -> IntegrityError:
    return IntegrityError(f"graph '{path.parent.name}/{path.name}' {why}: do not run it")
