"""Compile on first use: `vitrify export` in a child process, once, into the user's cache.

The runtime never imports the exporter; the two meet in the bundle that the child leaves.
"""

import importlib.util
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from filelock import FileLock

from ...version import __version__
from ..bundle.checkpoint_files import checkpoint_files
from ..bundle.digests import cache_folder, cache_key, file_digest, remembered_digest, writing_cache
from ..bundle.manifest import MANIFEST
from ..child import Ended, error_of, run_child
from ..errors import (
    DependencyMissing,
    EnvironmentMissing,
    VitrifyError,
    install_hint,
)
from ..machine import installed_version
from .request import Source

_NEEDED = ("torch", "transformers", "onnx", "onnxscript", "onnx_ir")
_MAKERS = (*_NEEDED, "onnxruntime", "tokenizers", "numpy", "pillow")
_LOG = logging.getLogger("vitrify")
Runner = Callable[[Sequence[str]], tuple[int, str]]


def compiled_bundle(
    source: Source,
    *,
    task: str | None,
    profile: str,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    run: Runner = run_child,
) -> Path:
    """Return the bundle of `source` for a task and a profile, exporting it into the cache if it is not there.

    The key covers the content of the files that an export reads, the task, the profile (its content too, if it is the
    caller's own file) and the versions of all that makes a bundle. Processes that want the same bundle at once wait
    for one export.

    Raises
    ------
    DependencyMissing
        The `export` extra is not installed.
    VitrifyError
        The export failed; the class and the sentence are the child's.

    """
    options = [f"--profile={profile}", *([f"--task={task}"] if task else [])]
    options += ["--trust-remote-code"] * trust_remote_code + ["--allow-pickle"] * allow_pickle
    folder = _root() / _key(source, options, profile)
    if (folder / MANIFEST).is_file():
        return folder
    _require_exporter(source)
    with _locked(folder):
        if not (folder / MANIFEST).is_file():
            _export(source, folder, options, run)
    return folder


def is_compiled(folder: Path) -> bool:
    """Tell whether a bundle's folder is one of those that were compiled on first use."""
    return folder.parent == cache_folder() / "bundles"


def _root() -> Path:
    return cache_folder("bundles")


def _locked(folder: Path) -> AbstractContextManager[Any]:
    with writing_cache(folder.parent):
        return FileLock(f"{folder}.lock").acquire()


def _export(source: Source, folder: Path, options: Sequence[str], run: Runner) -> None:
    command = [sys.executable, "-P", "-m", "vitrify.cli", "export", str(source.folder), f"--output={folder}", *options]
    command += [f"--source-id={source.id}"] + ([f"--source-revision={source.revision}"] if source.revision else [])
    _LOG.warning("compiling %s, once; the bundle stays in %s", source.id, folder)
    ended = Ended(*run(command))
    if ended.code == 0 or (folder / MANIFEST).is_file():  # the export of a process that was killed may have come first
        return
    if ended.code < 0:
        raise EnvironmentMissing(
            f"the export of '{source.id}' was killed by signal {-ended.code}: is there enough memory?"
        )
    raise error_of(ended, VitrifyError)


def _key(source: Source, options: Sequence[str], profile: str) -> str:
    files = {name: remembered_digest(path) for name, path in checkpoint_files(source.folder).items()}
    own_profile = file_digest(Path(profile)) if Path(profile).is_file() else None
    versions = {name: installed_version(name) for name in _MAKERS}
    return cache_key(files, source.id, source.revision, list(options), own_profile, __version__, versions)


def _require_exporter(source: Source) -> None:
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise DependencyMissing(
            f"'{source.id}' is a checkpoint, which must be compiled first, and {missing[0]} is not installed: "
            f"{install_hint('export')}, or pass a bundle that was exported elsewhere"
        )
