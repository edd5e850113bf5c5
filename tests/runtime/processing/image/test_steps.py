"""Donut's own steps against transformers' Pillow-based processor: equal to the bit, and refused where it fails too."""

import json

import numpy as np
import pytest

from tests.images import noise
from tests.runtime.processing.image.against_transformers import SMALL_IMAGES, assert_equal, both
from vitrify.runtime.errors import IntegrityError, UsageError
from vitrify.runtime.processing.image.processor import ImageProcessor

NAME = "DonutImageProcessor"
UPRIGHT, WIDE, SQUARE = {"height": 64, "width": 48}, {"height": 41, "width": 70}, {"height": 32, "width": 32}
IMAGES = [*SMALL_IMAGES, noise(1, 1), noise(33, 33), noise(64, 48), noise(12, 200)]
SETTINGS = [
    {"size": UPRIGHT},
    {"size": WIDE, "do_align_long_axis": True},
    {"size": UPRIGHT, "do_align_long_axis": True},
    {"size": SQUARE, "do_align_long_axis": True},
    {"size": UPRIGHT, "do_thumbnail": False, "do_pad": False},
    {"size": {"height": 400, "width": 400}, "do_resize": False},
    {"size": UPRIGHT, "do_resize": False, "do_pad": False},
    {"size": UPRIGHT, "do_center_crop": True, "crop_size": {"height": 51, "width": 60}},
    {"size": WIDE, "do_normalize": False, "rescale_factor": 1 / 127.5},
    {"size": WIDE, "do_normalize": False, "do_rescale": False},
    *({"size": WIDE, "resample": resample} for resample in range(6)),  # 0 is a filter here, and none in the thumbnail
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_settings_equal_transformers(tmp_path, settings):
    theirs, ours = both(tmp_path, NAME, settings)
    for image in IMAGES:
        assert_equal(theirs, ours, image)


@pytest.mark.parametrize("size", [[48, 64], (48, 64)])
def test_a_pair_as_size_is_width_then_height_as_in_transformers(tmp_path, size):
    theirs, ours = both(tmp_path, NAME, {"size": SQUARE})
    expected = theirs(IMAGES[0], size=size, return_tensors="np")["pixel_values"]
    assert expected.shape[2:] == (64, 48)
    np.testing.assert_array_equal(ours(IMAGES[0], size=size)["pixel_values"], expected)


def write(tmp_path, **changes):
    config = {"image_processor_type": NAME, "do_resize": True, "do_pad": True, "resample": 2, "size": UPRIGHT}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config | changes))
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": {"shortest_edge": 5}}, r"size is {'shortest_edge': 5} \(allowed for this processor: {height, width}"),
        ({"size": None}, "do_resize is true, but size is not set"),
        ({"size": None, "do_resize": False}, "size is None"),
        ({"size": None, "do_resize": False, "do_pad": False, "do_thumbnail": True}, "size is None"),
        ({"size": [64, 48, 3]}, "size is"),
        ({"size": [0, 48]}, "from 1 to"),
        ({"do_thumbnail": 1}, "do_thumbnail is 1"),
        ({"do_align_long_axis": "left"}, "do_align_long_axis is 'left'"),
    ],
)
def test_a_broken_configuration_is_an_integrity_error(tmp_path, changes, message):
    with pytest.raises(IntegrityError, match=message):
        ImageProcessor.from_folder(write(tmp_path, **changes))


def test_an_image_larger_than_its_page_is_a_usage_error(tmp_path):
    theirs, ours = both(tmp_path, NAME, {"size": UPRIGHT, "do_resize": False, "do_thumbnail": False})
    assert_equal(theirs, ours, noise(48, 64))
    with pytest.raises(ValueError, match="negative"):
        theirs(noise(49, 64))
    with pytest.raises(UsageError, match=r"\(64, 49\) \(height, width\) does not fit into size \(64, 48\)"):
        ours(noise(49, 64))


@pytest.mark.parametrize("shape", [(1, 300_000), (9_000_000, 1)])
def test_extreme_proportions_are_refused_before_anything_is_allocated(tmp_path, shape):
    processor = ImageProcessor.from_folder(write(tmp_path, size={"height": 2560, "width": 1920}))
    with pytest.raises(UsageError, match=f"{shape[0]} x {shape[1]}"):
        processor.output_size(*shape)


def test_a_thumbnail_of_which_no_pixel_is_left_is_a_usage_error(tmp_path):
    processor = ImageProcessor.from_folder(write(tmp_path, do_resize=False, do_thumbnail=True))
    with pytest.raises(UsageError, match="no pixel left after thumbnail"):
        processor(noise(500, 2))
