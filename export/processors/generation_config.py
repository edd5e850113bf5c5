"""The generation settings of a checkpoint as transformers loads them, wherever its files say them."""

import json
from pathlib import Path
from typing import Any

from ...runtime.generation.saved_config import FILE, checked_entries


def write_generation_config(model: Any, folder: Path, *, source: Path) -> None:
    """Write a model's generation config into a bundle's folder; nothing for a model that does not generate.

    Raises IntegrityError for a value of the checkpoint in `source` that no call could have.
    """
    if model.can_generate():
        saved = source / FILE
        where = saved if saved.is_file() else source / "config.json"
        checked_entries(json.loads(model.generation_config.to_json_string()), where, advice="correct it")
        model.generation_config.to_json_file(folder / FILE)
