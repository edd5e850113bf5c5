"""Pix2Struct's patches against transformers' processor, which computes them in PyTorch; resizing against PyTorch's."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from tests.images import noise
from tests.runtime.processing.image.against_transformers import SMALL_IMAGES, assert_equal, both
from vitrify.runtime.errors import IntegrityError, UnsupportedError, UsageError
from vitrify.runtime.processing.image.patches import resized
from vitrify.runtime.processing.image.processor import ImageProcessor

NAME = "Pix2StructImageProcessor"
ONE_COLOUR = Image.new("RGB", (40, 30), (10, 10, 10))
IMAGES = [*SMALL_IMAGES, noise(1, 1), noise(1, 3000), noise(3000, 2), ONE_COLOUR]
SETTINGS = [
    {"max_patches": 64},
    {"max_patches": 1, "patch_size": {"height": 4, "width": 4}},
    {"max_patches": 50, "patch_size": {"height": 3, "width": 7}},
    {"max_patches": 16, "patch_size": {"height": 8, "width": 8}, "do_convert_rgb": False},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_settings_equal_transformers(tmp_path, settings):
    theirs, ours = both(tmp_path, NAME, settings)
    for image in IMAGES:
        assert_equal(theirs, ours, image)


def test_pixels_that_are_not_standardized_equal_transformers(tmp_path):
    theirs, ours = both(tmp_path, NAME, {"max_patches": 64, "do_normalize": False})
    for image in IMAGES:
        expected = theirs(image, return_tensors="np")
        given = ours(image)
        np.testing.assert_allclose(given["flattened_patches"], expected["flattened_patches"], rtol=0, atol=1e-4)
        np.testing.assert_array_equal(given["attention_mask"], expected["attention_mask"])


def test_images_of_any_shapes_are_one_batch(tmp_path):
    theirs, ours = both(tmp_path, NAME, {"max_patches": 20})
    images = [noise(90, 31), noise(40, 40), noise(3, 200)]
    expected, given = theirs(images, return_tensors="np"), ours(images)
    assert given["flattened_patches"].shape == (3, 20, 2 + 16 * 16 * 3)
    np.testing.assert_allclose(given["flattened_patches"], expected["flattened_patches"], rtol=0, atol=2e-6)
    np.testing.assert_array_equal(given["attention_mask"], expected["attention_mask"])
    assert len(set(given["attention_mask"].sum(axis=1))) > 1, "all rows have as many patches: the mask shows nothing"


def test_settings_of_a_call_equal_transformers(tmp_path):
    theirs, ours = both(tmp_path, NAME, {})
    settings = {"max_patches": 9, "patch_size": {"height": 5, "width": 6}}
    expected = theirs(IMAGES[0], return_tensors="np", **settings)["flattened_patches"]
    np.testing.assert_allclose(ours(IMAGES[0], **settings)["flattened_patches"], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("old", "new"),
    [((48, 64), (62, 83)), ((90, 5), (20, 256)), ((300, 400), (62, 83)), ((7, 7), (7, 7)), ((9, 20_001), (2, 31_000))],
)
def test_resizing_equals_pytorch(old, new):
    values = np.random.default_rng(0).standard_normal((*old, 3)).astype(np.float32)
    tensor = torch.from_numpy(values.transpose(2, 0, 1))[None]
    expected = torch.nn.functional.interpolate(tensor, size=new, mode="bilinear", antialias=True)[0]
    np.testing.assert_allclose(resized(values, new), expected.numpy().transpose(1, 2, 0), rtol=0, atol=1e-6)


def write(tmp_path, **changes):
    config = {"image_processor_type": NAME, "do_normalize": True, "max_patches": 64}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config | changes))
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_patches": 0}, "max_patches is 0 (allowed: whole numbers from 1 to 65536)"),
        ({"max_patches": -3}, "max_patches is -3"),
        ({"max_patches": 10**9}, "max_patches is 1000000000"),
        ({"max_patches": 2.5}, "max_patches is 2.5"),
        ({"max_patches": "many"}, "max_patches is 'many'"),
        ({"max_patches": True}, "max_patches is True"),
        ({"patch_size": 0}, "from 1 to"),
        ({"patch_size": {"height": 16}}, "patch_size is {'height': 16} (allowed: {height, width})"),
        ({"patch_size": {"height": 16, "width": -1}}, "from 1 to"),
        ({"patch_size": "large"}, "patch_size is 'large'"),
        ({"max_patches": 65536, "patch_size": 8192}, "65536 patches of 8192 x 8192 pixels are too many"),
    ],
)
def test_a_broken_configuration_is_an_integrity_error(tmp_path, changes, message):
    with pytest.raises(IntegrityError, match=re.escape(message)) as caught:
        ImageProcessor.from_folder(write(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_questions_drawn_above_images_are_unsupported(tmp_path):
    with pytest.raises(UnsupportedError, match="is_vqa is True: questions drawn above an image are not supported"):
        ImageProcessor.from_folder(write(tmp_path, is_vqa=True))
    processor = ImageProcessor.from_folder(write(tmp_path, is_vqa=False))
    with pytest.raises(UnsupportedError, match="header_text is 'What"):
        processor(noise(20, 20), header_text="What is it?")
    with pytest.raises(UnsupportedError, match="is_vqa is True"):
        processor(noise(20, 20), is_vqa=True)


def test_a_very_high_image_is_refused_before_anything_is_allocated(tmp_path):
    processor = ImageProcessor.from_folder(write(tmp_path, max_patches=2048))
    very_high = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (20_000_000, 1, 3))
    with pytest.raises(UsageError, match=r"20000000 x 1 \(height x width\) would become .* by resize"):
        processor(Image.fromarray(np.ascontiguousarray(very_high)))
