"""The files of a bundle beside its graphs: config, settings, processors and chat templates; knows no graph."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..runtime.bundle.manifest import CARD, SOURCE_CARD
from ..runtime.processing.chat.templates import FILE, FOLDER
from .checkpoint.opened import Checkpoint
from .processors.ctc_tokenizer import is_ctc_tokenizer, write_ctc_tokenizer
from .processors.generation_config import write_generation_config
from .processors.image import write_image_processor
from .processors.speech import write_speech_processor
from .processors.tokenizer import write_tokenizer

# transformers.js looks for weights beside the graph only if config.json says so.
JS_CONFIG = {"transformers.js_config": {"use_external_data_format": True}}


def write_files(checkpoint: Checkpoint, out: Path) -> None:
    """Write what the runtime and other loaders read of a checkpoint into a bundle's folder."""
    config = json.loads((checkpoint.folder / "config.json").read_text(encoding="utf-8"))
    text = json.dumps({**config, **JS_CONFIG}, indent=2, ensure_ascii=False) + "\n"
    (out / "config.json").write_bytes(text.encode("utf-8", "backslashreplace"))  # as JSON writes half of a character
    write_generation_config(checkpoint.model, out, source=checkpoint.folder)
    _write_kept(checkpoint.files, out)
    _write_chat_templates(checkpoint.tokenizer, out)
    if checkpoint.image_processor is not None:
        write_image_processor(checkpoint.image_processor, out)
    if checkpoint.speech_processor is not None:
        write_speech_processor(checkpoint.speech_processor, out)
    if is_ctc_tokenizer(checkpoint.tokenizer):
        write_ctc_tokenizer(checkpoint.tokenizer, out)
    elif checkpoint.tokenizer is not None:
        write_tokenizer(checkpoint.tokenizer, out)


def write_documents(documents: Mapping[str, Path], out: Path) -> None:
    """Write a checkpoint's licenses as they are, and its model card to where it makes room for the bundle's own."""
    _write_kept({SOURCE_CARD if name == CARD else name: path for name, path in documents.items()}, out)


def _write_kept(files: Mapping[str, Path] | Mapping[str, Path | str], out: Path) -> None:
    """Write files, from where they are or as text."""
    for name, source in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, Path):
            shutil.copyfile(source, out / name)
        else:
            (out / name).write_text(source, encoding="utf-8")


def _write_chat_templates(tokenizer: Any, out: Path) -> None:
    """Write the chat templates that the checkpoint's tokenizer holds, wherever it found them."""
    held = getattr(tokenizer, "chat_template", None) or {}
    for name, source in {"default": held}.items() if isinstance(held, str) else held.items():
        path = out / FILE if name == "default" else out / FOLDER / f"{Path(name).name}.jinja"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source, encoding="utf-8")
