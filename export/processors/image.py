"""Image processors of a checkpoint: loaded by transformers, written complete, and verified equal in the runtime."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.errors import UnsupportedError
from ...runtime.processing.image.processor import PROCESSORS, ImageProcessor
from ...runtime.processing.image.source import import_pillow
from ...runtime.processing.preprocessor_config import CONFIG_NAME, known_class
from ..reasons import reason_of
from .preprocessor import load_preprocessor, require_same_arrays, runtime_copy, write_preprocessor

TOLERANCES: Mapping[str, float] = {"pixel_values": 1e-6, "flattened_patches": 1e-4}
"""The largest difference of one value, by array: pixels are equal to the bit; patches differ by the order of sums."""

_OF_A_CALL = ("device", "return_tensors", "disable_grouping")
_SYNTHETIC = (("RGB", 640, 480), ("RGB", 17, 9), ("RGB", 50, 400), ("L", 96, 64), ("RGBA", 61, 83))


def load_image_processor(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Return transformers' Pillow-based processor of a checkpoint folder.

    Raises UsageError without a processor or without leave to run its code, IntegrityError where its file is broken,
    UnsupportedError where transformers cannot build it without torchvision, DependencyMissing without Pillow.
    """
    import_pillow()
    from transformers import AutoImageProcessor

    return load_preprocessor(
        lambda: AutoImageProcessor.from_pretrained(
            folder, backend="pil", trust_remote_code=trust_remote_code, local_files_only=True
        ),
        folder,
        what="image processor",
    )


def write_image_processor(processor: Any, folder: Path) -> None:
    """Write a complete preprocessor_config.json (same processor, same bytes), once the runtime agrees with it.

    Raises UnsupportedError for a class that the runtime does not know, or where it computes other values.
    """
    write_preprocessor(_complete_config(processor), folder, check=lambda scratch: _check_equal(processor, scratch))


def _complete_config(processor: Any) -> dict[str, Any]:
    """Return what the processor acts on: its class's defaults included, a call's own arguments and remote code not."""
    saved = json.loads(processor.to_json_string())
    name = saved["image_processor_type"].removesuffix("Fast").removesuffix("Pil")
    known_class(name, PROCESSORS, what="image processor")
    allowed = set(processor.valid_kwargs.__annotations__) - set(_OF_A_CALL)
    config = {key: value for key, value in saved.items() if key in allowed and value is not None}
    # A flag that was set to None is off, but absent it would become its class's default again.
    config |= {key: False for key, value in saved.items() if key.startswith("do_") and value is None}
    config["default_to_square"] = bool(processor.default_to_square)
    return config | {"image_processor_type": name}


def _check_equal(processor: Any, folder: Path) -> None:
    """Compare transformers' processor, as given and as read back, with the runtime's on synthetic images."""
    ours = runtime_copy(ImageProcessor.from_folder, folder, what=f"image processor '{type(processor).__name__}'")
    read_back = load_image_processor(folder)
    if _complete_config(read_back) != _complete_config(processor):
        raise UnsupportedError(f"image processor '{ours.name}' does not read back from {CONFIG_NAME} as it was")
    # torchvision's resampling differs slightly from Pillow's, which is what the runtime has.
    reference = read_back if getattr(processor, "backend", "") == "torchvision" else processor
    compared = [_compare(reference, ours, *image) for image in _SYNTHETIC]
    if not any(compared):
        raise UnsupportedError(f"image processor '{ours.name}' accepts none of the images that it was tested with")


def _compare(reference: Any, ours: ImageProcessor, mode: str, width: int, height: int) -> bool:
    """Return whether both take the image; raise UnsupportedError where one does not, or where they differ."""
    image = _synthetic_image(mode, width, height)
    # Without do_convert_rgb transformers takes RGB only, which is what its pipelines load.
    as_loaded = image if ours.settings.do_convert_rgb else image.convert("RGB")
    theirs, their_error = _result(lambda: reference(as_loaded, return_tensors="np"))
    mine, my_error = _result(lambda: ours(image))
    case = f"image processor '{ours.name}' on a {mode} image of {width} x {height}"
    if theirs is None and mine is None:
        return False
    if theirs is None or mine is None:
        raise UnsupportedError(
            f"{case}: transformers {their_error or 'accepts it'}, the runtime {my_error or 'accepts it'}"
        )
    require_same_arrays(theirs, mine, case=case, tolerances=TOLERANCES)
    return True


def _result(call: Callable[[], Mapping[str, Any]]) -> tuple[dict[str, np.ndarray] | None, str]:
    try:
        return {name: np.asarray(value) for name, value in call().items()}, ""
    except Exception as error:  # noqa: BLE001 - whatever either side refuses with is the finding
        return None, f"rejects it ({reason_of(error)})"


def _synthetic_image(mode: str, width: int, height: int) -> Any:
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    noise = np.random.default_rng(width).integers(0, 256, (height, width, *channels), dtype=np.uint8)
    return import_pillow().fromarray(noise)
