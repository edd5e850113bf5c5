"""Bundles of tiny checkpoints that several test folders share: whoever asks first exports one."""

from pathlib import Path

import pytest

from tests.checkpoints import make_checkpoint
from tests.once import made_once
from vitrify import export_bundle


def exported_into(folder: Path, model_type: str, head: str) -> None:
    """Write the tiny checkpoint of a type with a head, and its bundle."""
    export_bundle(make_checkpoint(model_type, head, folder / "checkpoint"), folder / "bundle")


def exported_once(factory: pytest.TempPathFactory, model_type: str, head: str) -> Path:
    """Return this run's folder with `checkpoint` and `bundle` of a type with a head."""
    return made_once(factory, f"{model_type}-{head}", lambda folder: exported_into(folder, model_type, head))
