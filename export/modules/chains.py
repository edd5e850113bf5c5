"""From modules.json to the modules that follow a transformer: which, in order, and with their weights."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...runtime.bundle.checkpoint_files import SINGLE, json_of
from ...runtime.bundle.modules_json import ROUTER, TRANSFORMER, Module, Read, flattened, listed, routes_of
from ...runtime.errors import IntegrityError, UnsupportedError, UsageError
from ..reasons import reason_of
from .features import STATES, VECTOR
from .layers import Dense, LayerNorm, Normalize
from .pooling import MODES, Pooling

KINDS: Mapping[str, Any] = {"Pooling": Pooling, "Dense": Dense, "LayerNorm": LayerNorm, "Normalize": Normalize}
"""The modules that follow a transformer, by the names of sentence-transformers' classes."""

_SUPPORTED = (TRANSFORMER, *KINDS, ROUTER)
# The tasks that a router may send another way than a text without one.
_TASKS = ("query", "document")


@dataclass(frozen=True)
class Chains:
    """The modules of a checkpoint: `listed` as its modules.json, `made` by the vector that they give.

    `body` is the folder of its transformer, relative to the checkpoint's.
    """

    listed: tuple[Module, ...]
    body: str
    made: Mapping[str, tuple[torch.nn.Module, ...]]


def body_folder(folder: Path) -> str:
    """Return the folder of the first transformer that modules.json lists, relative to `folder`; "" without one."""
    read, where = json_of(folder), folder.name
    every = flattened(listed(read, where), read, where)
    return next((module.path for module in every if module.kind == TRANSFORMER), "")


def read_chains(folder: Path, *, route: str | None = None, ignore: bool = False) -> Chains:
    """Return the modules that a folder's modules.json lists.

    Raises
    ------
    UnsupportedError
        A module, by name, that is not supported, unless `ignore` leaves it out; routes with transformers of their own,
        unless `route` names one.
    UsageError
        No such route.
    IntegrityError
        A module's settings or weights are missing or broken.

    """
    read, where = json_of(folder), folder.name
    modules = _supported(listed(read, where), where, ignore=ignore)
    if route is not None:
        modules = tuple(_one_route(modules, read, where, route))
    chains = dict(_by_task(modules, read, where, ignore=ignore))
    body = _body(chains, where)
    built: dict[Module, torch.nn.Module] = {}
    made = {name: tuple(_build(module, folder, built) for module in chain[1:]) for name, chain in chains.items()}
    _require_vectors(chains, made, where)
    return Chains(modules, body, made)


def default_chains(modes: Sequence[str], *, normalize: bool) -> Chains:
    """Return the modules of a checkpoint without any: pooling, and with `normalize` vectors of length 1."""
    if unknown := [mode for mode in modes if mode not in MODES]:
        raise UsageError(f"pooling must be one or several of {', '.join(MODES)}, got {unknown[0]!r}")
    prefix = "sentence_transformers.models"
    kinds = ("Transformer", "Pooling", *(["Normalize"] if normalize else []))
    found = tuple(Module(f"{prefix}.{kind}", f"{place}_{kind}" if place else "") for place, kind in enumerate(kinds))
    chain = (Pooling(tuple(modes)), *([Normalize({})] if normalize else []))
    return Chains(found, "", {VECTOR: chain})


def _supported(modules: Sequence[Module], where: str, *, ignore: bool) -> tuple[Module, ...]:
    """Return the modules that are supported; raise UnsupportedError for the first other one, unless it is ignored."""
    others = [module for module in modules if module.kind not in _SUPPORTED]
    if others and not ignore:
        raise UnsupportedError(
            f"the module {others[0].kind} of '{where}' is not supported (supported: {', '.join(_SUPPORTED)}): leave it "
            "out with --ignore-modules, or export the hidden states alone with --task feature-extraction"
        )
    return tuple(module for module in modules if module not in others)


def _one_route(modules: Sequence[Module], read: Read, where: str, route: str) -> Iterator[Module]:
    """Yield the modules, those of one route in the place of each router."""
    if not any(module.kind == ROUTER for module in modules):
        raise UsageError(f"'{where}' has no Router, and so no route '{route}': leave --route out")
    for module in modules:
        if module.kind != ROUTER:
            yield module
            continue
        chains = routes_of(module, read, where).chains
        if route not in chains:
            raise UsageError(f"'{where}' has no route '{route}' (routes: {', '.join(chains)})")
        yield from _one_route(chains[route], read, where, route) if _has_router(chains[route]) else chains[route]


def _has_router(modules: Sequence[Module]) -> bool:
    return any(module.kind == ROUTER for module in modules)


def _by_task(
    modules: Sequence[Module], read: Read, where: str, *, ignore: bool
) -> Iterator[tuple[str, tuple[Module, ...]]]:
    """Yield the vectors and their modules: that of every text, and those of tasks that a router sends another way."""
    default = _expanded(None, modules, read, where, ignore=ignore)
    if default is None:
        raise UnsupportedError(f"the Router of '{where}' has no default route: export one of its routes with --route")
    yield VECTOR, default
    for task in _TASKS if _has_router(modules) else ():
        chain = _expanded(task, modules, read, where, ignore=ignore)
        if chain is not None and chain != default:
            yield f"{VECTOR}_{task}", chain


def _expanded(
    task: str | None, modules: Sequence[Module], read: Read, where: str, *, ignore: bool
) -> tuple[Module, ...] | None:
    """Return the modules that a text of a task runs through; None where a router has no route for it."""
    found: list[Module] = []
    for module in modules:
        if module.kind != ROUTER:
            found.append(module)
            continue
        chain = routes_of(module, read, where).chain(task)
        inner = None if chain is None else _supported(chain, where, ignore=ignore)
        if inner is None or (inner := _expanded(task, inner, read, where, ignore=ignore)) is None:
            return None
        found.extend(inner)
    return tuple(found)


def _body(chains: Mapping[str, Sequence[Module]], where: str) -> str:
    """Return the folder of the one transformer that every chain begins with."""
    first = {chain[0] if chain else None for chain in chains.values()}
    for module in first:
        if module is None or module.kind != TRANSFORMER:
            kind = "none" if module is None else module.kind
            raise UnsupportedError(f"the first module of '{where}' is {kind}, not a {TRANSFORMER}: it has no states")
    if len(first) > 1:
        raise UnsupportedError(
            f"the routes of '{where}' have transformers of their own, and a bundle has one: export each with --route "
            f"({', '.join(sorted(str(module and module.path) for module in first))})"
        )
    return next(module.path for module in first if module is not None)


def _build(module: Module, folder: Path, built: dict[Module, torch.nn.Module]) -> torch.nn.Module:
    """Return a module with its weights; one that several chains share is made once."""
    if module not in built:
        where = module.file("config.json")
        settings = json_of(folder)(where) or {}
        if not isinstance(settings, Mapping):
            raise IntegrityError(f"'{where}' of '{folder.name}' is not a JSON object: download the checkpoint again")
        if module.kind not in KINDS:
            raise UnsupportedError(f"the module {module.kind} of '{folder.name}' follows another one, which it cannot")
        built[module] = _made(KINDS[module.kind], settings, folder / module.path, where)
    return built[module]


def _made(kind: Any, settings: Mapping[str, Any], folder: Path, where: str) -> torch.nn.Module:
    from safetensors.torch import load_file

    try:
        module = kind.from_settings(settings, where)
        if module.state_dict():
            module.load_state_dict(load_file(folder / SINGLE))
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        reason = reason_of(error)
        raise IntegrityError(f"the module in '{folder.name}' cannot be read ({reason}): download it again") from error
    return module.float().eval()


def _require_vectors(chains: Mapping[str, Sequence[Module]], made: Mapping[str, Any], where: str) -> None:
    """Raise UnsupportedError unless every chain makes a vector of the states."""
    for name, chain in made.items():
        known = {STATES}
        for module in chain:
            source = getattr(module, "source", VECTOR)
            if not isinstance(module, (Pooling, Normalize)) and source not in known:
                raise UnsupportedError(f"a module of '{where}' reads '{source}', which none before it gives")
            known.add(VECTOR if isinstance(module, Pooling) else getattr(module, "target", VECTOR))
        if VECTOR not in known:
            kinds = ", ".join(module.kind for module in chains[name])
            raise UnsupportedError(
                f"the modules of '{where}' ({kinds}) give no sentence embedding, for want of a Pooling. Export the "
                "hidden states alone with --task feature-extraction"
            )
