"""The generation settings of a checkpoint as transformers loads them, wherever its files say them."""

from pathlib import Path
from typing import Any

from ...runtime.generation.saved_config import FILE


def write_generation_config(model: Any, folder: Path) -> None:
    """Write a model's generation config into a bundle's folder; nothing for a model that does not generate."""
    if model.can_generate():
        model.generation_config.to_json_file(folder / FILE)
