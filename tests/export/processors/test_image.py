"""A checkpoint's image processor: loaded or refused, written complete, verified before it is written."""

import json

import numpy as np
import pytest
import transformers
from PIL import Image
from transformers import AutoImageProcessor

from vitrify.export.processors.image import TOLERANCES, load_image_processor, write_image_processor
from vitrify.runtime.errors import IntegrityError, UnsupportedError, UsageError
from vitrify.runtime.processing.image.processor import PROCESSORS, ImageProcessor

NAME = "preprocessor_config.json"
IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", PROCESSORS)
def test_what_is_written_loads_back_equal_in_transformers_and_here(tmp_path, name):
    processor = getattr(transformers, name + "Pil")()
    write_image_processor(processor, tmp_path)
    config = json.loads((tmp_path / NAME).read_text())
    assert config["image_processor_type"] == name
    back = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    assert type(back) is type(processor)
    assert processor.to_dict() == {key: value for key, value in back.to_dict().items() if key != "default_to_square"}
    expected, again = processor(IMAGE, return_tensors="np"), back(IMAGE, return_tensors="np")
    ours = ImageProcessor.from_folder(tmp_path)(IMAGE)
    for array in expected:
        np.testing.assert_array_equal(again[array], expected[array])
        np.testing.assert_allclose(ours[array], expected[array], rtol=0, atol=TOLERANCES.get(array, 0))


def write(folder, config):
    folder.mkdir(exist_ok=True)
    (folder / NAME).write_text(json.dumps(config))
    return folder


def test_a_legacy_sparse_configuration_is_written_complete(tmp_path):
    legacy = {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 64, "do_normalize": False}
    write_image_processor(load_image_processor(write(tmp_path / "old", legacy)), tmp_path / "new")
    config = json.loads((tmp_path / "new" / NAME).read_text())
    assert config["image_processor_type"] == "ConvNextImageProcessor"
    assert config["size"] == {"shortest_edge": 64}
    assert config["default_to_square"] is False
    assert config["do_normalize"] is False
    assert config["rescale_factor"] == 1 / 255
    assert config["crop_pct"] == 224 / 256


def test_the_bytes_depend_on_the_settings_only(tmp_path):
    config = {"image_processor_type": "ViTImageProcessorFast", "size": 32, "return_tensors": "pt", "device": "cpu"}
    config |= {"_name_or_path": "somewhere", "auto_map": {"AutoImageProcessor": "code.Processor"}}
    write_image_processor(load_image_processor(write(tmp_path / "a", config)), tmp_path / "b")
    write_image_processor(load_image_processor(tmp_path / "b"), tmp_path / "c")
    written = (tmp_path / "b" / NAME).read_bytes()
    assert written == (tmp_path / "c" / NAME).read_bytes()
    assert not {"return_tensors", "device", "_name_or_path", "auto_map"} & set(json.loads(written))


def test_a_flag_set_to_none_stays_off(tmp_path):
    processor = transformers.ViTImageProcessorPil(size=32)
    processor.do_normalize = None
    write_image_processor(processor, tmp_path)
    assert json.loads((tmp_path / NAME).read_text())["do_normalize"] is False


class OtherPixels(transformers.ViTImageProcessorPil):
    """What a checkpoint's own code may do under a known name."""

    def rescale(self, image, scale, **kwargs):
        return super().rescale(image, scale, **kwargs) + np.float32(1e-5)


class OtherShape(transformers.ViTImageProcessorPil):
    def resize(self, image, size, resample=None, **kwargs):
        return super().resize(image, size, resample, **kwargs)[:, 1:]


class Refusing(transformers.ViTImageProcessorPil):
    def resize(self, image, size, resample=None, **kwargs):
        raise ValueError("no")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (OtherPixels, "pixel_values differs from transformers' by"),
        (OtherShape, "returns pixel_values"),
        (Refusing, r"rejects it \(no\)"),
    ],
)
def test_other_pixels_under_a_known_name_are_refused_and_nothing_is_written(tmp_path, other, message):
    processor = type("ViTImageProcessorPil", (other,), {})(size=32)
    with pytest.raises(UnsupportedError, match=message):
        write_image_processor(processor, tmp_path)
    assert not (tmp_path / NAME).exists()


def test_settings_that_nothing_fits_are_refused(tmp_path):
    processor = transformers.ViTImageProcessorPil(do_resize=False, do_pad=True, pad_size={"height": 2, "width": 2})
    with pytest.raises(UnsupportedError, match="accepts none of the images"):
        write_image_processor(processor, tmp_path)


def test_settings_that_the_runtime_does_not_know_are_refused(tmp_path):
    with pytest.raises(UnsupportedError, match=r"longest_edge.*allowed: \{height, width\}"):
        write_image_processor(transformers.ViTImageProcessorPil(size={"longest_edge": 64}), tmp_path)


class OtherPatches(transformers.Pix2StructImageProcessorPil):
    def normalize(self, image):
        return super().normalize(image) + np.float32(2e-4)


class OneMore(transformers.Pix2StructImageProcessorPil):
    def preprocess(self, images, **options):
        made = super().preprocess(images, **options)
        return {**made, "pixel_values": made["flattened_patches"]}


class Unmasked(transformers.Pix2StructImageProcessorPil):
    def preprocess(self, images, **options):
        made = super().preprocess(images, **options)
        return {**made, "attention_mask": np.ones_like(made["attention_mask"])}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (OtherPatches, r"flattened_patches differs from transformers' by 0\.0002 \(allowed: 0\.0001\)"),
        (OneMore, "returns flattened_patches, attention_mask, pixel_values, the runtime flattened_patches, attention"),
        (Unmasked, r"attention_mask differs from transformers' by 1 \(allowed: 0\)"),
    ],
)
def test_other_patches_under_a_known_name_are_refused(tmp_path, other, message):
    processor = type("Pix2StructImageProcessorPil", (other,), {})(max_patches=30, patch_size={"height": 8, "width": 8})
    with pytest.raises(UnsupportedError, match=message):
        write_image_processor(processor, tmp_path)
    assert not (tmp_path / NAME).exists()


def test_questions_drawn_above_images_are_refused_by_name(tmp_path):
    with pytest.raises(UnsupportedError, match=r"is_vqa is True: questions .* font \(Arial\) is not part"):
        write_image_processor(transformers.Pix2StructImageProcessorPil(is_vqa=True), tmp_path)


def test_the_size_of_a_first_donut_is_width_then_height(tmp_path):
    legacy = {"feature_extractor_type": "DonutFeatureExtractor", "size": [40, 64], "do_align_long_axis": False}
    write_image_processor(load_image_processor(write(tmp_path / "old", legacy)), tmp_path / "new")
    config = json.loads((tmp_path / "new" / NAME).read_text())
    assert config["size"] == {"height": 64, "width": 40}
    assert config["do_thumbnail"] is True


def test_an_unsupported_class_is_refused_by_name(tmp_path):
    with pytest.raises(UnsupportedError, match=r"'DetrImageProcessor' is not supported \(supported: Beit"):
        write_image_processor(transformers.DetrImageProcessorPil(), tmp_path)


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"image_processor_type": "FooImageProcessor"}, UnsupportedError, "Unrecognized"),
        ({"image_processor_type": "DINOv3ViTImageProcessor"}, UnsupportedError, "torchvision"),
        ({"image_processor_type": "ViTImageProcessor", "size": {"edge": 1}}, UnsupportedError, "size must have"),
        ({"auto_map": {"AutoImageProcessor": "code.Processor"}}, UsageError, "--trust-remote-code"),
        ([], IntegrityError, "broken"),
    ],
)
def test_what_transformers_cannot_load_is_one_readable_sentence(tmp_path, config, error, message):
    with pytest.raises(error, match=message) as caught:
        load_image_processor(write(tmp_path, config))
    assert "\n" not in str(caught.value)


def test_a_checkpoint_without_a_processor(tmp_path):
    with pytest.raises(UsageError, match="has no image processor"):
        load_image_processor(tmp_path)


def test_a_file_that_is_no_json(tmp_path):
    (tmp_path / NAME).write_text("{")
    with pytest.raises(IntegrityError, match="not a valid JSON"):
        load_image_processor(tmp_path)
