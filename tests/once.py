"""Folders that all workers of a test run share: whoever asks first fills one, and nobody changes it afterwards."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], object]) -> Path:
    """Return this run's folder of that name; `fill` is given the empty folder where nobody has been here before."""
    base = factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"
    folder, done = root / name, root / f"{name}.done"
    root.mkdir(exist_ok=True)
    with FileLock(root / f"{name}.lock"):
        if not done.exists():
            folder.mkdir()
            fill(folder)
            done.touch()
    return folder


def bundle_once(
    factory: pytest.TempPathFactory, model_type: str, head: str, make: Callable[[Path], Path] | None = None
) -> Path:
    """Return this run's bundle of a tiny checkpoint, which lies next to it in `checkpoint`; `make` writes its own."""
    from tests.checkpoints import make_checkpoint
    from vitrify import export_bundle

    def fill(folder: Path) -> None:
        target = folder / "checkpoint"
        made = make_checkpoint(model_type, head, target) if make is None else make(target)
        export_bundle(made, folder / "bundle")

    return made_once(factory, f"{model_type}-{head}", fill) / "bundle"
