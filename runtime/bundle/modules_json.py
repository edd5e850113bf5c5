"""What a checkpoint of sentence-transformers lists in modules.json: its modules, and the folders of their files.

It reads JSON only; what a module computes is the export's.
"""

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ..errors import IntegrityError
from ..json_files import brief

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
TRANSFORMER, ROUTER = "Transformer", "Router"
# What it is loaded with, where `model_type` of its settings names no other class.
SENTENCES, CROSS_ENCODER = "SentenceTransformer", "CrossEncoder"
_OWN = "sentence_transformers."
_FORMER = {"Asym": ROUTER}
_ROUTES = ("router_config.json", "config.json")

# Returns the content of a JSON file of the checkpoint, or None where there is none.
Read = Callable[[str], Any]


@dataclass(frozen=True)
class Module:
    """One module: `type` is the dotted name of its class, `path` its folder, "" for the checkpoint's own."""

    type: str
    path: str = ""

    @property
    def kind(self) -> str:
        """The name of its class, whatever release wrote it; of a class of others the whole name."""
        name = self.type.rpartition(".")[2] if self.type.startswith(_OWN) else self.type
        return _FORMER.get(name, name)

    def file(self, name: str) -> str:
        """Return the name of one of its files in the checkpoint."""
        return f"{self.path}/{name}" if self.path else name


@dataclass(frozen=True)
class Routes:
    """A router: the modules of each route, the one without a task, and which tasks take another than their own."""

    chains: Mapping[str, tuple[Module, ...]]
    default: str | None
    mappings: Mapping[Any, str]

    def chain(self, task: str | None) -> tuple[Module, ...] | None:
        """Return the modules that a text takes, None where no route is for this task."""
        pairs = ((task, "text"), (task, None), (None, "text"), (None, None))
        named = [self.mappings[pair] for pair in pairs if pair in self.mappings]
        own = [name for name in (task, "text") if name in self.chains]
        otherwise = [self.default] if task is None and self.default is not None else []
        route = next(iter([*named, *own, *otherwise]), None)
        return None if route is None else self.chains.get(route)


def listed(read: Read, where: str) -> tuple[Module, ...]:
    """Return the modules in order; none where there is no modules.json. Raise IntegrityError for a broken one."""
    if (content := read(MODULES)) is None:
        return ()
    try:
        return tuple(_module(item["type"], item["path"], where) for item in content)
    except (TypeError, KeyError) as error:
        raise _broken(MODULES, where) from error


def routes_of(router: Module, read: Read, where: str) -> Routes:
    """Return the routes of a router; raise IntegrityError where its settings are broken or missing."""
    name, content = next(
        ((name, found) for name in map(router.file, _ROUTES) if isinstance(found := read(name), Mapping)),
        (router.file(_ROUTES[0]), {}),
    )
    try:
        types, given = content["types"], content.get("parameters") or {}
        chains = {
            route: tuple(_module(types[each], router.file(each), where) for each in ids)
            for route, ids in content["structure"].items()
        }
        mappings = {ast.literal_eval(key): route for key, route in (given.get("route_mappings") or {}).items()}
    except (TypeError, KeyError, AttributeError, ValueError, SyntaxError) as error:
        raise _broken(name, where) from error
    first = next(iter(chains), None) if given.get("allow_empty_key", True) else None
    return Routes(chains, given.get("default_route") or first, mappings)


def flattened(modules: Sequence[Module], read: Read, where: str) -> Iterator[Module]:
    """Yield the modules and, after each router, those of its routes."""
    for module in modules:
        yield module
        if module.kind == ROUTER:
            routes = routes_of(module, read, where)
            yield from flattened(tuple(dict.fromkeys(sum(routes.chains.values(), ()))), read, where)


def kind_of_model(read: Read) -> str | None:
    """Return the class that sentence-transformers loads the checkpoint with; None for one that it did not write."""
    if read(MODULES) is None:
        return None
    settings = read(SETTINGS)
    named = settings.get("model_type") if isinstance(settings, Mapping) else None
    return str(named or SENTENCES)


def _module(kind: Any, path: Any, where: str) -> Module:
    """Return a module whose folder lies in the checkpoint."""
    if not isinstance(kind, str) or not isinstance(path, str):
        raise _broken(MODULES, where)
    parts = PurePosixPath(path).parts
    if ".." in parts or "\\" in path or path.startswith("/"):
        raise IntegrityError(f"'{MODULES}' of '{where}' names the folder {brief(path)}, outside it: do not trust it")
    return Module(kind, "/".join(parts))


def _broken(name: str, where: str) -> IntegrityError:
    return IntegrityError(f"'{name}' of '{where}' is not one of sentence-transformers: download the checkpoint again")
