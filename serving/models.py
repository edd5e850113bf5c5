"""The models that a server answers with: which were asked for, by what name, and the pipelines on them by task.

It knows no protocol.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from threading import Lock
from typing import Any

from ..runtime.errors import UsageError
from ..runtime.factory import pipeline
from ..runtime.tasks import find_task
from .executor import Executor
from .shared_bundle import SharedBundle

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


@dataclass(frozen=True)
class Wanted:
    """A model to serve: its name in addresses, a bundle's folder, a checkpoint or a Hub id, and how it runs."""

    name: str
    source: str
    profile: str | None = None
    threads: int | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"a model's name must be letters, digits, '.', '_' and '-', got {self.name!r:.60}: pass NAME=FOLDER"
            )


def read_wanted(words: Sequence[str]) -> list[Wanted]:
    """Return the models of a command line: `[NAME=]SOURCE[:PROFILE]`, or a TOML file of them.

    Raises UsageError for a name that is none, or there twice.
    """
    wanted = [each for word in words for each in _wanted(word)]
    for index, each in enumerate(wanted):
        if any(each.name == other.name for other in wanted[:index]):
            raise UsageError(f"two models are called '{each.name}': name one NAME={each.source}")
    return wanted


def _wanted(word: str) -> Iterable[Wanted]:
    if word.endswith(".toml") and not Path(word).is_dir():
        yield from _from_file(Path(word))
        return
    name, given, source = word.rpartition("=") if not Path(word).exists() else ("", "", word)
    profile = None
    if not Path(source).exists():
        source, _, asked = source.partition(":")
        profile = asked or None
    if not source.strip():
        raise UsageError(f"{word!r:.60} names no model: pass NAME=SOURCE, a folder or a Hub id")
    yield Wanted(name if given else Path(source).resolve().name, source, profile)


def _from_file(path: Path) -> Iterable[Wanted]:
    """Yield the models of a file: `[models.NAME]` with a `source` and, if need be, the other fields of `Wanted`."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"'{path}' cannot be read ({reason})") from error
    if unknown := sorted(set(content) - {"models"}):
        raise UsageError(f"'{path}' has '{unknown[0]}', which is not known: it contains tables [models.NAME]")
    models = content.get("models")
    if not isinstance(models, dict) or not models:
        raise UsageError(f"'{path}' has no model: add a table [models.NAME] with source = \"FOLDER\"")
    for name, given in models.items():
        yield _from_table(path, name, given)


def _from_table(path: Path, name: str, given: Any) -> Wanted:
    known = {field.name: field.type for field in fields(Wanted)} | {"name": str}
    if not isinstance(given, dict) or not isinstance(given.get("source"), str):
        raise UsageError(f"'{path}': [models.{name}] needs source = \"FOLDER\"")
    for key, value in given.items():
        allowed = int if key == "threads" else str
        if key not in known or key == "name" or type(value) is not allowed:
            raise UsageError(f"'{path}': [models.{name}] has {key} = {value!r:.60}, which is not a field of a model")
    beside = path.parent / given["source"]
    return Wanted(name, **{**given, "source": str(beside) if beside.exists() else given["source"]})


class ServedModel:
    """One model, opened: its pipelines by task, each made when it is first asked for."""

    def __init__(self, wanted: Wanted, executor: Executor) -> None:
        loaded = pipeline(
            model=wanted.source, profile=wanted.profile, threads=wanted.threads, revision=wanted.revision
        ).loaded
        self.name = wanted.name
        self.bundle = SharedBundle.of(loaded, executor)
        self._pipelines: dict[str, Any] = {}
        self._lock = Lock()

    @property
    def tasks(self) -> Sequence[str]:
        """The tasks that it serves, its own first."""
        return list(self.bundle.bundle.tasks)

    @property
    def profile(self) -> str:
        """The name of the profile that runs."""
        return self.bundle.profile.name

    def pipeline(self, task: str | None = None) -> Any:
        """Return the pipeline of a task, by default of the model's first; raise UsageError where it serves no such."""
        name = self.tasks[0] if task is None else find_task(task).name
        with self._lock:
            if name not in self._pipelines:
                self._pipelines[name] = pipeline(name, self.bundle)
            return self._pipelines[name]

    def first(self, tasks: Iterable[str]) -> Any:
        """Return the pipeline of the first of these tasks that the model serves; raise UsageError where it has none."""
        wanted = list(tasks)
        for task in wanted:
            if task in self.tasks:
                return self.pipeline(task)
        raise UsageError(f"model '{self.name}' serves {', '.join(self.tasks)}, and this route needs {wanted[0]}")


class Models:
    """All models of a server by name, and the executor that runs them."""

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        self.executor = Executor()
        self._models: Mapping[str, ServedModel] = {each.name: ServedModel(each, self.executor) for each in wanted}

    def __iter__(self) -> Any:
        return iter(self._models.values())

    def named(self, name: str | None) -> ServedModel:
        """Return a model by its name, which may be left out where there is one; raise UnknownModel."""
        if name is None and len(self._models) == 1:
            return next(iter(self._models.values()))
        if name is None or name not in self._models:
            raise UnknownModelError(f"no model {name!r:.60}: this server has {', '.join(self._models)}")
        return self._models[name]

    def warm(self) -> None:
        """Open every model's graphs, so that the first request waits for none."""
        for each in self:
            each.bundle.open()

    def close(self) -> None:
        """End the executor, and free every graph."""
        self.executor.close()
        for each in self:
            each.bundle.close()


class UnknownModelError(UsageError):
    """A model that the server does not have."""
