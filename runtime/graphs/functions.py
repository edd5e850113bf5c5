"""What the functions of an ONNX graph come to once a runtime has inlined them: a few hundred bytes may name any number.

It walks the messages as `files.py` does and knows no operator.
"""

from collections import Counter
from collections.abc import Mapping

from .protobuf import fields, message, text

MOST_NODES = 2**18
_DEEPEST = 100
_MODEL_GRAPH, _MODEL_FUNCTION = 7, 25
_FUNCTION_NAME, _FUNCTION_DOMAIN, _NODE_OPERATOR, _NODE_DOMAIN = 1, 10, 4, 7
_INSIDE: Mapping[str, Mapping[int, str]] = {
    "function": {7: "node"},
    "graph": {1: "node"},
    "node": {5: "attribute"},
    "attribute": {6: "graph", 11: "graph"},
}
_Name = tuple[str, str]


def check_functions(model: memoryview) -> None:
    """Raise ValueError where functions call each other in a circle, or come to more nodes than a graph has."""
    parts: dict[int, list[memoryview]] = {_MODEL_GRAPH: [], _MODEL_FUNCTION: []}
    for number, value in fields(model):
        if number in parts:
            parts[number].append(message(value))
    if not parts[_MODEL_FUNCTION]:
        return
    calls: dict[_Name, Counter[_Name]] = {}
    for function in parts[_MODEL_FUNCTION]:
        calls.setdefault(_name(function, _FUNCTION_DOMAIN, _FUNCTION_NAME), Counter()).update(
            _called("function", function)
        )
    sizes: dict[_Name, int] = {}
    for graph in parts[_MODEL_GRAPH]:
        if _size(_called("graph", graph), calls, sizes, ()) > MOST_NODES:
            raise ValueError(f"its functions come to more than {MOST_NODES} nodes")


def _size(
    called: Mapping[_Name, int],
    calls: Mapping[_Name, Counter[_Name]],
    sizes: dict[_Name, int],
    within: tuple[_Name, ...],
) -> int:
    for name in called:
        if name not in calls:
            sizes[name] = 1
        elif name in within:
            raise ValueError(f"its function {name[1]!r:.80} calls itself")
        elif len(within) > _DEEPEST:
            raise ValueError(f"its functions call each other more than {_DEEPEST} levels deep")
        elif name not in sizes:
            sizes[name] = _size(calls[name], calls, sizes, (*within, name))
    return sum(count * sizes[name] for name, count in called.items())


def _called(kind: str, content: memoryview) -> Counter[_Name]:
    """Return the operators of all nodes inside, those of subgraphs too, with how often each is there."""
    found: Counter[_Name] = Counter()
    pending = [(kind, content)]
    while pending:
        kind, content = pending.pop()
        if kind == "node":
            found[_name(content, _NODE_DOMAIN, _NODE_OPERATOR)] += 1
        pending += [
            (_INSIDE[kind][number], message(value)) for number, value in fields(content) if number in _INSIDE[kind]
        ]
    return found


def _name(content: memoryview, domain: int, name: int) -> _Name:
    told = {number: text(value) for number, value in fields(content) if number in {domain, name}}
    return told.get(domain, ""), told.get(name, "")
