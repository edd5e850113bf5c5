"""Our image processor beside the Pillow-based one of transformers, made from the same settings."""

import numpy as np
import transformers

from tests.images import noise
from vitrify.runtime.processing.image.processor import ImageProcessor

IMAGES = [noise(640, 480), noise(17, 9), noise(50, 400), noise(96, 64, "L"), noise(61, 83, "RGBA")]
SMALL_IMAGES = [noise(120, 90), *IMAGES[1:]]


def both(tmp_path, name, settings):
    """Return transformers' processor and ours, read from the file that transformers saves."""
    theirs = getattr(transformers, name + "Pil")(**settings)
    theirs.save_pretrained(tmp_path)
    return theirs, ImageProcessor.from_folder(tmp_path)


# By array; 0 is equal to the bit. Patches differ by the order in which a few float32 are summed.
TOLERANCES = {"pixel_values": 0, "flattened_patches": 2e-6, "attention_mask": 0}


def assert_equal(theirs, ours, image):
    expected = theirs(image if theirs.do_convert_rgb else image.convert("RGB"), return_tensors="np")
    given = ours(image)
    assert set(given) == set(expected)
    for name, array in given.items():
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        np.testing.assert_allclose(array, expected[name].astype(np.float32), rtol=0, atol=TOLERANCES[name])
    if "pixel_values" in given:
        assert given["pixel_values"].shape[2:] == ours.output_size(image.height, image.width)
