"""What image processors and feature extractors share at export: loaded, compared by arrays, written once verified.

It knows no class: `what` names the kind in messages.
"""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ...runtime.errors import IntegrityError, UnsupportedError, UsageError
from ...runtime.numerics import Arrays
from ...runtime.processing.preprocessor_config import CONFIG_NAME
from ..quiet import quiet
from ..reasons import reason_of

Ours = TypeVar("Ours")


def load_preprocessor(load: Callable[[], Any], folder: Path, *, what: str) -> Any:
    """Return what `load` makes of a checkpoint folder.

    Raises UsageError without a configuration there or without leave to run its code, IntegrityError where it is
    broken, UnsupportedError where transformers cannot build it.
    """
    if not any((folder / name).is_file() for name in (CONFIG_NAME, "processor_config.json")):
        raise UsageError(f"checkpoint '{folder}' has no {what} (no {CONFIG_NAME})")
    try:
        with quiet():
            return load()
    except (ValueError, ImportError) as error:
        if "trust_remote_code" in str(error):
            raise UsageError(
                f"the {what} of '{folder}' is code of its own; to run it, pass --trust-remote-code"
            ) from error
        raise UnsupportedError(f"the {what} of '{folder}' cannot be loaded: {reason_of(error)}") from error
    except Exception as error:
        raise IntegrityError(f"the {what} of '{folder}' is broken: {reason_of(error)}") from error


def write_preprocessor(config: Mapping[str, Any], folder: Path, *, check: Callable[[Path], None]) -> None:
    """Write preprocessor_config.json (same settings, same bytes), once `check` accepted a folder with it."""
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / CONFIG_NAME).write_text(text, encoding="utf-8")
        check(scratch)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_NAME).write_text(text, encoding="utf-8")


def runtime_copy(read: Callable[[Path], Ours], folder: Path, *, what: str) -> Ours:
    """Return the runtime's own reading of a folder; raise UnsupportedError for what it does not take."""
    try:
        return read(folder)
    except IntegrityError as error:
        raise UnsupportedError(f"{what} is not supported: {error.__cause__ or error}") from error


def require_same_arrays(theirs: Arrays, mine: Arrays, *, case: str, tolerances: Mapping[str, float]) -> None:
    """Raise UnsupportedError where names, shapes or values differ; an array without a tolerance must be the same."""
    if set(mine) != set(theirs):
        raise UnsupportedError(f"{case}: transformers returns {', '.join(theirs)}, the runtime {', '.join(mine)}")
    for name, values in theirs.items():
        if values.shape != mine[name].shape:
            raise UnsupportedError(
                f"{case}: transformers returns {name} {values.shape}, the runtime {mine[name].shape}"
            )
        allowed = tolerances.get(name, 0.0)
        difference = float(np.abs(np.subtract(values, mine[name], dtype=np.float32)).max())
        if not difference <= allowed:
            raise UnsupportedError(
                f"{case}: {name} differs from transformers' by {difference:.2g} (allowed: {allowed:g})"
            )
