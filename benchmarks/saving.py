"""Saves models as checkpoints without a progress bar: what a benchmark prints is its own."""

from pathlib import Path
from typing import Any


def save_model(model: Any, folder: Path) -> None:
    """Write a model of transformers to a folder."""
    from transformers import logging

    had_bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model.save_pretrained(folder)
    finally:
        if had_bars:
            logging.enable_progress_bar()
