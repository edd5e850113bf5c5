"""Compile on first use: `vitrify export` in a child process, once, into the user's cache.

The runtime never imports the exporter; the two meet in the bundle that the child leaves.
"""

import hashlib
import importlib.util
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..version import __version__
from .bundle import MANIFEST
from .checkpoint_files import checkpoint_files
from .digests import cache_folder, file_digest, remembered_digest, writing_cache
from .errors import (
    DependencyMissing,
    EnvironmentMissing,
    ExportError,
    IntegrityError,
    ParityError,
    UnsupportedError,
    UsageError,
    VitrifyError,
)
from .hub import Source
from .machine import installed_version

_NEEDED = ("torch", "transformers", "onnx", "onnxscript", "onnx_ir")
_MAKERS = (*_NEEDED, "onnxruntime", "tokenizers", "numpy", "pillow")
_BY_CODE: dict[int, type[VitrifyError]] = {
    error.exit_code: error
    for error in (UsageError, ExportError, ParityError, UnsupportedError, IntegrityError, EnvironmentMissing)
}
_LOG = logging.getLogger("vitrify")
Runner = Callable[[Sequence[str]], tuple[int, str]]


def run_child(command: Sequence[str]) -> tuple[int, str]:
    """Run the command and return its exit code and what it wrote to stderr."""
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own command
    return done.returncode, done.stderr


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
    return folder.parent == _root()


def _root() -> Path:
    return cache_folder() / "bundles"


def _locked(folder: Path) -> AbstractContextManager[Any]:
    with writing_cache(folder.parent):
        return FileLock(f"{folder}.lock").acquire()


def _export(source: Source, folder: Path, options: Sequence[str], run: Runner) -> None:
    command = [sys.executable, "-P", "-m", "vitrify.cli", "export", str(source.folder), f"--output={folder}", *options]
    command += [f"--source-id={source.id}"] + ([f"--source-revision={source.revision}"] if source.revision else [])
    _LOG.warning("compiling %s, once; the bundle stays in %s", source.id, folder)
    code, output = run(command)
    if code == 0 or (folder / MANIFEST).is_file():  # the export of a process that was killed may have come first
        return
    if code < 0:
        raise EnvironmentMissing(f"the export of '{source.id}' was killed by signal {-code}: is there enough memory?")
    lines = [line for line in output.splitlines() if line.strip()]
    reason = lines[-1].removeprefix("vitrify: ") if lines else f"the export ended with {code}"
    raise _BY_CODE.get(code, VitrifyError)(reason)


def _key(source: Source, options: Sequence[str], profile: str) -> str:
    files = {name: remembered_digest(path) for name, path in checkpoint_files(source.folder).items()}
    own_profile = file_digest(Path(profile)) if Path(profile).is_file() else None
    versions = {name: installed_version(name) for name in _MAKERS}
    parts = [files, source.id, source.revision, list(options), own_profile, __version__, versions]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _require_exporter(source: Source) -> None:
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise DependencyMissing(
            f"'{source.id}' is a checkpoint, which must be compiled first, and {missing[0]} is not installed: "
            "pip install 'vitrify[export]', or give a bundle that was exported elsewhere"
        )
