"""A checkpoint of sentence-transformers: whether its modules are followed, and what of it the bundle keeps."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...runtime.bundle.checkpoint_files import SINGLE, json_of
from ...runtime.bundle.modules_json import (
    CROSS_ENCODER,
    MODULES,
    SENTENCES,
    SETTINGS,
    TRANSFORMER,
    flattened,
    kind_of_model,
)
from ...runtime.errors import UnsupportedError, UsageError
from ...runtime.tasks import find_task
from ..modules.body import FILE, read_body, tokenizer_settings
from ..modules.chains import Chains, body_folder, default_chains, read_chains
from ..modules.pooling import Pooling

TASK = "text-embedding"
HEAD = "embedding"
_MODULE_FILES = ("config.json", "router_config.json", SINGLE)


@dataclass(frozen=True)
class Wish:
    """How states become sentence embeddings, where the caller says so.

    Attributes
    ----------
    pooling, normalize
        Of a checkpoint without modules.json; no pooling is sentence-transformers' default.
    ignore_modules
        Leave out the modules that are not supported.
    route
        The route of a router that is exported alone.
    recorded
        A bundle that was made of the checkpoint: its modules count.

    """

    pooling: Sequence[str] = ()
    normalize: bool = False
    ignore_modules: bool = False
    route: str | None = None
    recorded: Path | None = None

    @property
    def named(self) -> list[str]:
        """The arguments that only sentence embeddings have."""
        given = {"pooling": self.pooling, "normalize": self.normalize, "route": self.route}
        return [name for name, value in given.items() if value]


@dataclass(frozen=True)
class Sentences:
    """What a checkpoint of sentence-transformers is: `chains` where its modules are followed.

    `body` is the folder of its transformer, `settings` what lies beside that, `files` what a bundle keeps, by name.
    """

    body: Path
    chains: Chains | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Path | str] = field(default_factory=dict)


def read_sentences(folder: Path, *, task: str | None, head: str | None, wish: Wish) -> Sentences:
    """Return how the checkpoint in `folder` is read: its modules are followed for sentence embeddings alone.

    Raises
    ------
    UsageError
        `wish` says what the checkpoint says itself, or is for another task.
    UnsupportedError, IntegrityError
        See `read_chains` and `read_body`.

    """
    read, where = json_of(folder), folder.name
    kind = kind_of_model(read)
    body = body_folder(folder)
    if not _is_embedding(task, head, kind, wish):
        if wish.named:
            raise UsageError(f"{wish.named[0]} is for {TASK}: leave it out, or pass --task {TASK}")
        return Sentences(folder / body, files=_kept(read, body, where) if kind == CROSS_ENCODER else {})
    if kind not in {None, SENTENCES, CROSS_ENCODER}:
        raise UnsupportedError(f"'{where}' is a {kind} of sentence-transformers, which is not supported: pass --task")
    source = wish.recorded if wish.recorded is not None else folder
    if kind == SENTENCES or wish.recorded is not None:
        if wish.pooling or wish.normalize:
            raise UsageError(f"'{where}' says in {MODULES} how it pools: leave pooling and normalize out")
        chains = read_chains(source, route=wish.route, ignore=wish.ignore_modules or wish.recorded is not None)
        body = chains.body if wish.recorded is None else body
        files = {**_kept(read, body, where), **_module_files(source, chains)}
        return Sentences(folder / body, chains, read_body(read, body, where), files)
    if wish.route is not None:
        raise UsageError(f"'{where}' has no {MODULES}, and so no route '{wish.route}': leave --route out")
    chains = default_chains(wish.pooling or _default_pooling(read), normalize=wish.normalize)
    return Sentences(folder / body, chains, files=_default_files(chains))


def edit_tokenizer(tokenizer: Any, settings: Mapping[str, Any]) -> Any:
    """Return the tokenizer as sentence-transformers sets it: its own settings, and every text in lower case."""
    for name, value in tokenizer_settings(settings).items():
        if hasattr(tokenizer, name):
            setattr(tokenizer, name, value)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not settings.get("do_lower_case") or backend is None or _lowers(backend):
        return tokenizer
    from tokenizers.normalizers import Lowercase, Sequence

    backend.normalizer = Sequence([Lowercase(), *([backend.normalizer] if backend.normalizer else [])])
    return tokenizer


def _lowers(backend: Any) -> bool:
    content = json.loads(backend.to_str()).get("normalizer") or {}
    parts = content.get("normalizers", [content])
    return any(part.get("type") == "Lowercase" or part.get("lowercase") for part in parts)


def _is_embedding(task: str | None, head: str | None, kind: str | None, wish: Wish) -> bool:
    if head is not None:
        return head == HEAD
    if task is not None:
        return find_task(task).name == TASK
    return kind not in {None, CROSS_ENCODER} or bool(wish.named)


def _default_pooling(read: Any) -> tuple[str, ...]:
    """Return how sentence-transformers pools a checkpoint without modules: by what it was trained to give."""
    config = read("config.json")
    names = (config.get("architectures") if isinstance(config, Mapping) else None) or [""]
    causal = str(names[0]).endswith("ForCausalLM") and config.get("is_causal", True)
    return ("lasttoken",) if causal else ("mean",)


def _kept(read: Any, body: str, where: str) -> dict[str, Path | str]:
    """Return the settings that the runtime reads, under the names of today's sentence-transformers."""
    files = {FILE: read_body(read, body, where), SETTINGS: read(SETTINGS)}
    return {name: _text(content) for name, content in files.items() if content}


def _module_files(folder: Path, chains: Chains) -> dict[str, Path | str]:
    """Return modules.json and what its modules read, so that the bundle lists what it obeys."""
    every = [module for module in flattened(chains.listed, json_of(folder), folder.name) if module.kind != TRANSFORMER]
    names = [module.file(name) for module in every for name in _MODULE_FILES]
    files: dict[str, Path | str] = {name: folder / name for name in names if (folder / name).is_file()}
    return {**files, MODULES: _listing(chains)}


def _default_files(chains: Chains) -> dict[str, Path | str]:
    files: dict[str, Path | str] = {MODULES: _listing(chains)}
    (chain,) = chains.made.values()
    for module, made in zip(chains.listed[1:], chain, strict=True):
        if isinstance(made, Pooling):
            modes = made.modes[0] if len(made.modes) == 1 else list(made.modes)
            files[module.file("config.json")] = _text({"pooling_mode": modes, "include_prompt": True})
    return files


def _listing(chains: Chains) -> str:
    """Return modules.json; the transformer's files are at the top of a bundle."""
    rows = [
        {
            "idx": place,
            "name": str(place),
            "path": "" if module.kind == TRANSFORMER else module.path,
            "type": module.type,
        }
        for place, module in enumerate(chains.listed)
    ]
    return _text(rows)


def _text(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
