"""What a user calibrates on: a file of texts, or images or recordings, as the inputs of a model."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...runtime.bundle.digests import file_digest
from ...runtime.errors import UsageError
from ...runtime.graphs.signature import MASK, POOLED
from ...runtime.numerics import Arrays
from ...runtime.processing.audio.source import load_audio
from ...runtime.processing.image.source import as_rgb, load_image
from ..checkpoint.limits import positions_of
from ..checkpoint.opened import Checkpoint

# Scales change little beyond, and each is a run of the whole model in float32.
MOST = 512
_LONGEST_TEXT = 512
_LONGEST_AUDIO = 30  # seconds


@dataclass(frozen=True)
class CalibrationInputs:
    """Inputs of one row each, by the names that the model's processor gives; `digest` is the sha256 of their files."""

    rows: Sequence[Arrays] = ()
    digest: str | None = None


def read_calibration(checkpoint: Checkpoint, path: str | Path) -> CalibrationInputs:
    """Return what a file or a folder holds for a model of this kind of input; of more than `MOST`, some all through.

    Texts are lines of a file, images and recordings files or folders of files. Raises UsageError for what is not there,
    holds nothing, or is not of that kind.
    """
    path = Path(path)
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if _is_shown(each, path))
    if not files:
        raise UsageError(f"--calibration: no file is at '{path}': pass a text file, or a folder of images or audio")
    if path.is_dir() and checkpoint.kinds[0] == "text":
        raise UsageError(f"--calibration: '{path}' is a folder, and texts are the lines of a file: pass one text file")
    rows = _READERS[checkpoint.kinds[0]](checkpoint, files)
    if not rows:
        raise UsageError(f"--calibration: '{path}' contains no {checkpoint.kinds[0]} to calibrate on")
    digests = [file_digest(file) for file in files]
    return CalibrationInputs(
        rows, digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def text_rows(checkpoint: Checkpoint, lines: Sequence[str]) -> list[Arrays]:
    """Return each text as the tokens that the model takes, cut to its length."""
    limit = min((positions_of(checkpoint.config) or _LONGEST_TEXT) - 2, _LONGEST_TEXT)
    made = (checkpoint.tokenizer(line, truncation=True, max_length=limit, return_token_type_ids=True) for line in lines)
    given = {name: MASK if name == POOLED else name for name in checkpoint.input_names}  # a text has no prompt here
    return [{name: np.array([row[source]], np.int64) for name, source in given.items()} for row in made]


def _is_shown(path: Path, folder: Path) -> bool:
    return path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)


def _some(found: Sequence) -> list:
    """Return at most `MOST`, evenly spread."""
    return [found[index] for index in np.linspace(0, len(found) - 1, min(MOST, len(found))).astype(int)]


def _texts(checkpoint: Checkpoint, files: Sequence[Path]) -> list[Arrays]:
    lines = []
    for file in files:
        try:
            lines += [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        except UnicodeDecodeError as error:
            raise UsageError(f"--calibration: '{file}' is not a text in UTF-8 ({error.reason})") from error
    return text_rows(checkpoint, _some(lines))


def _images(checkpoint: Checkpoint, files: Sequence[Path]) -> list[Arrays]:
    return [
        _named(checkpoint, checkpoint.image_processor(images=as_rgb(load_image(str(file))), return_tensors="np"))
        for file in _some(files)
    ]


def _recordings(checkpoint: Checkpoint, files: Sequence[Path]) -> list[Arrays]:
    rate = checkpoint.speech_processor.sampling_rate
    return [
        _named(
            checkpoint,
            checkpoint.speech_processor(
                load_audio(str(file), sampling_rate=rate)[: _LONGEST_AUDIO * rate],
                sampling_rate=rate,
                return_attention_mask=True,
                return_tensors="np",
            ),
        )
        for file in _some(files)
    ]


def _named(checkpoint: Checkpoint, made: Mapping[str, np.ndarray]) -> Arrays:
    return {
        name: array.astype(np.int64) if (array := np.asarray(made[name])).dtype.kind in "biu" else array
        for name in checkpoint.input_names
    }


_READERS: Mapping[str, Callable[[Checkpoint, Sequence[Path]], list[Arrays]]] = {
    "text": _texts,
    "image": _images,
    "audio": _recordings,
}
