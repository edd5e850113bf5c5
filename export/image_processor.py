"""Image processors of a checkpoint: loaded by transformers, written complete, and proven equal in the runtime."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..runtime.errors import IntegrityError, UnsupportedError, UsageError
from ..runtime.processing.image import CONFIG_NAME, PROCESSORS, ImageProcessor
from ..runtime.processing.image_source import import_pillow

TOLERANCE = 1e-6
"""The largest difference of one value of `pixel_values`; every processor supported now is equal to the bit."""

_OF_A_CALL = ("device", "return_tensors", "disable_grouping")
_SYNTHETIC = (("RGB", 640, 480), ("RGB", 17, 9), ("RGB", 50, 400), ("L", 96, 64), ("RGBA", 61, 83))
_MESSAGE_LENGTH = 300


def load_image_processor(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Return transformers' Pillow-based processor of a checkpoint folder.

    Raises UsageError without a processor or without leave to run its code, IntegrityError where its file is broken,
    UnsupportedError where transformers cannot build it without torchvision, DependencyMissing without Pillow.
    """
    import_pillow()
    from transformers import AutoImageProcessor

    if not any((folder / name).is_file() for name in (CONFIG_NAME, "processor_config.json")):
        raise UsageError(f"checkpoint '{folder}' has no image processor (no {CONFIG_NAME})")
    try:
        return AutoImageProcessor.from_pretrained(
            folder, backend="pil", trust_remote_code=trust_remote_code, local_files_only=True
        )
    except (ValueError, ImportError) as error:
        if "trust_remote_code" in str(error):
            raise UsageError(
                f"the image processor of '{folder}' is code of its own; to run it, pass --trust-remote-code"
            ) from error
        raise UnsupportedError(f"the image processor of '{folder}' cannot be loaded: {_one_line(error)}") from error
    except Exception as error:
        raise IntegrityError(f"the image processor of '{folder}' is broken: {_one_line(error)}") from error


def write_image_processor(processor: Any, folder: Path) -> None:
    """Write a complete preprocessor_config.json (same processor, same bytes), once the runtime agrees with it.

    Raises UnsupportedError for a class that the runtime does not know, or where it computes other pixels.
    """
    text = json.dumps(_complete_config(processor), indent=2, sort_keys=True) + "\n"
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / CONFIG_NAME).write_text(text, encoding="utf-8")
        _prove_equal(processor, scratch)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_NAME).write_text(text, encoding="utf-8")


def _complete_config(processor: Any) -> dict[str, Any]:
    """Return what the processor acts on: its class's defaults included, a call's own arguments and remote code not."""
    saved = json.loads(processor.to_json_string())
    name = saved["image_processor_type"].removesuffix("Fast").removesuffix("Pil")
    if name not in PROCESSORS:
        raise UnsupportedError(f"image processor '{name}' is not supported (supported: {', '.join(PROCESSORS)})")
    allowed = set(processor.valid_kwargs.__annotations__) - set(_OF_A_CALL)
    config = {key: value for key, value in saved.items() if key in allowed and value is not None}
    # A flag that was set to None is off, but absent it would become its class's default again.
    config |= {key: False for key, value in saved.items() if key.startswith("do_") and value is None}
    config["default_to_square"] = bool(processor.default_to_square)
    return config | {"image_processor_type": name}


def _prove_equal(processor: Any, folder: Path) -> None:
    """Compare transformers' processor, as given and as read back, with the runtime's on synthetic images."""
    try:
        ours = ImageProcessor.from_folder(folder)
    except IntegrityError as error:
        raise UnsupportedError(
            f"image processor '{type(processor).__name__}' is not supported: {error.__cause__ or error}"
        ) from error
    read_back = load_image_processor(folder)
    if _complete_config(read_back) != _complete_config(processor):
        raise UnsupportedError(f"image processor '{ours.name}' does not read back from {CONFIG_NAME} as it was")
    # torchvision's resampling differs slightly from Pillow's, which is what the runtime has.
    reference = read_back if getattr(processor, "backend", "") == "torchvision" else processor
    compared = [_compare(reference, ours, *image) for image in _SYNTHETIC]
    if not any(compared):
        raise UnsupportedError(f"image processor '{ours.name}' takes none of the images that it was tried with")


def _compare(reference: Any, ours: ImageProcessor, mode: str, width: int, height: int) -> bool:
    """Return whether both take the image; raise UnsupportedError where one does not, or where they differ."""
    image = _synthetic_image(mode, width, height)
    # Without do_convert_rgb transformers takes RGB only, which is what its pipelines load.
    as_loaded = image if ours.settings.do_convert_rgb else image.convert("RGB")
    theirs, their_error = _result(lambda: reference(as_loaded, return_tensors="np")["pixel_values"])
    mine, my_error = _result(lambda: ours(image)["pixel_values"])
    case = f"image processor '{ours.name}' on a {mode} image of {width} x {height}"
    if theirs is None and mine is None:
        return False
    if theirs is None or mine is None:
        raise UnsupportedError(
            f"{case}: transformers {their_error or 'takes it'}, the runtime {my_error or 'takes it'}"
        )
    if theirs.shape != mine.shape:
        raise UnsupportedError(f"{case}: transformers gives shape {theirs.shape}, the runtime {mine.shape}")
    difference = float(np.abs(theirs.astype(np.float32) - mine).max())
    if not difference <= TOLERANCE:
        raise UnsupportedError(f"{case}: differs from transformers by {difference:.2g} (allowed: {TOLERANCE:g})")
    return True


def _result(call: Callable[[], np.ndarray]) -> tuple[np.ndarray | None, str]:
    try:
        return np.asarray(call()), ""
    except Exception as error:  # noqa: BLE001 - whatever either side refuses with is the finding
        return None, f"refuses ({_one_line(error)})"


def _synthetic_image(mode: str, width: int, height: int) -> Any:
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    noise = np.random.default_rng(width).integers(0, 256, (height, width, *channels), dtype=np.uint8)
    return import_pillow().fromarray(noise)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_MESSAGE_LENGTH]
