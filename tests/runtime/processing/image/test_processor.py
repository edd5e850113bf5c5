"""The runtime's image processor against transformers' Pillow-based one: pixels equal to the bit."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from transformers.image_utils import load_image as load_image_of_transformers

from tests.images import noise
from tests.runtime.processing.image.against_transformers import IMAGES, SMALL_IMAGES, assert_equal, both
from vitrify.runtime.errors import IntegrityError, UnsupportedError, UsageError
from vitrify.runtime.processing.image.effort import MAX_PIXELS
from vitrify.runtime.processing.image.processor import PROCESSORS, ImageProcessor
from vitrify.runtime.processing.image.settings import MAX_SIDE
from vitrify.runtime.processing.image.source import load_image


def palette_with_transparency():
    image = noise(40, 30).quantize(8)
    image.info["transparency"] = 3
    return image


@pytest.mark.parametrize("name", PROCESSORS)
def test_defaults_equal_transformers(tmp_path, name):
    theirs, ours = both(tmp_path, name, {})
    for image in IMAGES:
        assert_equal(theirs, ours, image)


SQUARE = {"height": 48, "width": 32}
SETTINGS = [
    *(("ViTImageProcessor", {"size": SQUARE, "resample": resample}) for resample in range(6)),
    ("ViTImageProcessor", {"size": {"shortest_edge": 37}}),
    ("ViTImageProcessor", {"size": {"shortest_edge": 37, "longest_edge": 60}}),
    ("ViTImageProcessor", {"size": {"shortest_edge": 90, "longest_edge": 1000}}),
    ("ViTImageProcessor", {"size": {"max_height": 50, "max_width": 70}}),
    ("ViTImageProcessor", {"do_resize": False}),
    ("ViTImageProcessor", {"size": SQUARE, "do_rescale": False}),
    ("ViTImageProcessor", {"size": SQUARE, "do_normalize": False}),
    ("ViTImageProcessor", {"size": SQUARE, "do_rescale": False, "do_normalize": False}),
    ("ViTImageProcessor", {"size": SQUARE, "image_mean": 0.4, "image_std": 0.3, "rescale_factor": 1 / 127.5}),
    ("ViTImageProcessor", {"size": SQUARE, "do_pad": True, "pad_size": {"height": 50, "width": 70}}),
    ("ViTImageProcessor", {"do_resize": False, "do_center_crop": True, "crop_size": {"height": 31, "width": 64}}),
    ("ViTImageProcessor", {"do_resize": False, "do_center_crop": True, "crop_size": {"height": 333, "width": 444}}),
    ("ViTImageProcessor", {"size": SQUARE, "do_convert_rgb": True}),
    ("DeiTImageProcessor", {"size": SQUARE, "crop_size": {"height": 51, "width": 21}, "resample": 0}),
    ("DeiTImageProcessor", {"do_center_crop": False, "size": SQUARE}),
    ("BeitImageProcessor", {"do_center_crop": True, "size": SQUARE, "crop_size": 20, "do_reduce_labels": True}),
    ("BeitImageProcessor", {"size": SQUARE, "do_pad": True, "pad_size": {"height": 60, "width": 60}}),
    ("BitImageProcessor", {"size": {"shortest_edge": 30}, "crop_size": {"height": 40, "width": 25}}),
    ("BitImageProcessor", {"size": {"shortest_edge": 30}, "do_center_crop": False, "do_convert_rgb": False}),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 56}}),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 56}, "crop_pct": 0.9, "resample": 2}),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 383}}),
    ("ConvNextImageProcessor", {"size": 40, "do_center_crop": True, "crop_size": {"height": 64, "width": 16}}),
    ("ConvNextImageProcessor", {"do_resize": False}),
    ("MobileNetV2ImageProcessor", {"size": {"shortest_edge": 40}, "crop_size": 32, "resample": 3}),
    ("MobileNetV2ImageProcessor", {"do_center_crop": False, "size": {"shortest_edge": 40}}),
    ("SegformerImageProcessor", {"size": SQUARE, "do_center_crop": True, "crop_size": 16, "do_reduce_labels": True}),
    ("SegformerImageProcessor", {"size": {"shortest_edge": 33}, "resample": 1}),
    ("MobileViTImageProcessor", {"size": {"shortest_edge": 40}, "crop_size": 48}),
    ("MobileViTImageProcessor", {"size": {"shortest_edge": 40}, "do_flip_channel_order": False}),
    ("MobileViTImageProcessor", {"size": SQUARE, "do_normalize": True, "do_rescale": False, "crop_size": 20}),
    ("EfficientNetImageProcessor", {"size": SQUARE, "rescale_offset": True, "rescale_factor": 1 / 127.5}),
    ("EfficientNetImageProcessor", {"size": SQUARE, "include_top": False, "resample": 0}),
    ("EfficientNetImageProcessor", {"size": SQUARE, "do_normalize": False, "do_center_crop": True, "crop_size": 60}),
    ("EfficientNetImageProcessor", {"size": SQUARE, "do_rescale": False, "rescale_offset": True}),
]


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_settings_equal_transformers(tmp_path, name, settings):
    theirs, ours = both(tmp_path, name, settings)
    for image in SMALL_IMAGES:
        assert_equal(theirs, ours, image)


@pytest.mark.parametrize("image", [noise(30, 20, "LA"), noise(30, 20, "RGBA"), palette_with_transparency()])
def test_transparency_is_composed_onto_white_with_do_convert_rgb(tmp_path, image):
    theirs, ours = both(tmp_path, "BitImageProcessor", {"do_resize": False, "do_center_crop": False})
    assert_equal(theirs, ours, image)
    dropped = ours(np.asarray(image.convert("RGB")))["pixel_values"]
    assert not np.array_equal(ours(image)["pixel_values"], dropped)


def test_a_loaded_image_equals_a_loaded_image_of_transformers(tmp_path):
    theirs, ours = both(tmp_path, "BitImageProcessor", {"do_resize": False, "do_center_crop": False})
    palette_with_transparency().save(tmp_path / "image.png")
    expected = theirs(load_image_of_transformers(str(tmp_path / "image.png")), return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(ours(load_image(tmp_path / "image.png"))["pixel_values"], expected)


def test_arrays_and_batches_equal_transformers(tmp_path):
    theirs, ours = both(tmp_path, "ViTImageProcessor", {"size": SQUARE})
    last = np.stack([np.asarray(noise(64, 48)), np.asarray(noise(64, 48).rotate(180))])
    expected = theirs(list(last), return_tensors="np")["pixel_values"]
    first = last.transpose(0, 3, 1, 2)
    for images in (last, list(last), first, [Image.fromarray(array) for array in last]):
        np.testing.assert_array_equal(ours(images)["pixel_values"], expected)
    np.testing.assert_array_equal(ours(last[0])["pixel_values"], expected[:1])


def test_padding_to_the_largest_of_a_batch_equals_transformers(tmp_path):
    theirs, ours = both(tmp_path, "ViTImageProcessor", {"do_resize": False, "do_pad": True})
    images = [noise(20, 30), noise(40, 10)]
    expected = theirs(images, return_tensors="np")["pixel_values"]
    assert expected.shape == (2, 3, 30, 40)
    np.testing.assert_array_equal(ours(images)["pixel_values"], expected)


def test_settings_of_a_call_equal_transformers(tmp_path):
    theirs, ours = both(tmp_path, "MobileNetV2ImageProcessor", {})
    for settings in (
        {"do_center_crop": False},
        {"size": {"shortest_edge": 40}, "do_normalize": False},
        {"resample": 0},
    ):
        expected = theirs(IMAGES[0], return_tensors="np", **settings)["pixel_values"]
        np.testing.assert_array_equal(ours(IMAGES[0], **settings)["pixel_values"], expected)
    assert ours(IMAGES[0])["pixel_values"].shape == (1, 3, 224, 224)


def test_a_whole_number_as_size_follows_default_to_square(tmp_path):
    _, ours = both(tmp_path, "ViTImageProcessor", {})
    assert ours.with_settings({"size": 40}).output_size(480, 640) == (40, 40)
    assert ours.with_settings({"size": 48, "default_to_square": False}).output_size(480, 640) == (48, 64)


def write(tmp_path, **changes):
    config = {"image_processor_type": "ViTImageProcessor", "do_resize": True, "resample": 2, "size": SQUARE}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config | changes))
    return tmp_path


def test_unknown_class_is_named_with_the_supported_ones(tmp_path):
    with pytest.raises(UnsupportedError, match=r"'FooImageProcessor'.*ConvNextImageProcessor"):
        ImageProcessor.from_folder(write(tmp_path, image_processor_type="FooImageProcessor"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_size": {"height": 10**9, "width": 10**9}, "do_center_crop": True}, f"from 1 to {MAX_SIDE}"),
        ({"size": {"height": 0, "width": 5}}, "from 1 to"),
        ({"size": {"height": 5.5, "width": 5}}, "from 1 to"),
        ({"size": {"height": True, "width": 5}}, "from 1 to"),
        ({"size": {"longest_edge": 5}}, "allowed: {height, width}"),
        ({"size": "large"}, "size is 'large'"),
        ({"size": None}, "do_resize is true, but size is not set"),
        ({"pad_size": {"shortest_edge": 5}}, "pad_size is"),
        ({"resample": 9}, "0 to 5"),
        ({"resample": None}, "resample is not set"),
        ({"do_resize": "yes"}, "true, false"),
        ({"do_center_crop": True}, "crop_size is not set"),
        ({"do_rescale": True, "rescale_factor": None}, "rescale_factor is not set"),
        ({"do_rescale": True, "rescale_factor": float("nan")}, "finite"),
        ({"do_rescale": True, "rescale_factor": 10**400}, "finite"),
        ({"default_to_square": "no"}, "default_to_square is 'no'"),
        ({"do_normalize": True, "image_std": None}, "image_std is not set"),
        ({"image_mean": [0.5] * 4}, "per channel of 3"),
        ({"image_std": [0.5, 0, 0.5]}, "no zero"),
        ({"image_processor_type": "ConvNextImageProcessor"}, "shortest_edge"),
        (
            {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 9}, "crop_pct": 0},
            "more than 0",
        ),
    ],
)
def test_a_broken_configuration_is_an_integrity_error(tmp_path, changes, message):
    with pytest.raises(IntegrityError, match=re.escape(message)) as caught:
        ImageProcessor.from_folder(write(tmp_path, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_no_json_object_is_an_integrity_error(tmp_path, content):
    (tmp_path / "preprocessor_config.json").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"preprocessor_config\.json"):
        ImageProcessor.from_folder(tmp_path)


def test_a_missing_file_is_an_integrity_error(tmp_path):
    with pytest.raises(IntegrityError, match=r"no preprocessor_config\.json"):
        ImageProcessor.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sise": 3}, "unknown image processor setting 'sise'"),
        ({"size": 10**9}, "from 1 to"),
        ({"do_center_crop": True}, "crop_size"),
    ],
)
def test_a_bad_setting_of_a_call_is_a_usage_error(tmp_path, settings, message):
    processor = ImageProcessor.from_folder(write(tmp_path))
    with pytest.raises(UsageError, match=message):
        processor(IMAGES[0], **settings)


@pytest.mark.parametrize(
    ("size", "height", "width"),
    [
        ({"shortest_edge": 224}, 1, 10_000_000),  # 224 x 2,240,000,000
        ({"height": 224, "width": 224}, 80_000_000, 1),  # Pillow would hold 80,000,000 x 224 on the way
        ({"max_height": 64, "max_width": 64}, 1, 1000),  # less than one pixel high
    ],
)
def test_extreme_proportions_are_refused_before_anything_is_allocated(tmp_path, size, height, width):
    processor = ImageProcessor.from_folder(write(tmp_path, size=size))
    assert height * width <= MAX_PIXELS
    with pytest.raises(UsageError, match=f"{height} x {width}"):
        processor.output_size(height, width)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "at least one image"),
        ("cat.png", "not str"),
        ([None], "not NoneType"),
        (np.zeros((5, 5, 7), np.uint8), "not an image"),
        ([noise(8, 8), noise(9, 9)], "cannot form one batch"),
    ],
)
def test_what_is_no_batch_of_images_is_a_usage_error(tmp_path, images, message):
    processor = ImageProcessor.from_folder(write(tmp_path, do_resize=False))
    with pytest.raises(UsageError, match=message):
        processor(images)


def test_an_image_larger_than_pad_size_is_a_usage_error(tmp_path):
    folder = write(tmp_path, do_resize=False, do_pad=True, pad_size={"height": 8, "width": 8})
    with pytest.raises(UsageError, match="does not fit into pad_size"):
        ImageProcessor.from_folder(folder)(noise(9, 8))
