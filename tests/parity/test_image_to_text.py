"""image-to-text beside what transformers writes, on a tiny encoder-decoder that reads pictures."""

from pathlib import Path

import pytest
import torch
import transformers

import vitrify
from tests.checkpoints import make_checkpoint
from tests.parity.test_image_pipelines import picture
from vitrify.runtime.errors import UsageError

TOKENS = 12


@pytest.fixture(scope="module")
def subjects(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image-to-text")
    checkpoint = make_checkpoint("vit-gpt2", "image-to-text", folder / "checkpoint")
    vitrify.export_bundle(checkpoint, folder / "bundle", task="image-to-text")
    return vitrify.pipeline("image-to-text", folder / "bundle"), checkpoint


def reference(checkpoint: Path, image, **options) -> list[str]:
    model = transformers.AutoModelForImageTextToText.from_pretrained(checkpoint).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(checkpoint)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    pixels = torch.as_tensor(processor(image, return_tensors="np")["pixel_values"])
    made = model.generate(pixels, max_new_tokens=TOKENS, **options)
    return [tokenizer.decode(row, skip_special_tokens=True) for row in made]


@pytest.mark.parametrize("options", [{}, {"num_beams": 3, "num_return_sequences": 2}])
def test_it_writes_what_transformers_writes(subjects, options):
    pipe, checkpoint = subjects
    expected = reference(checkpoint, picture(), do_sample=False, **options)
    found = pipe(picture(), max_new_tokens=TOKENS, do_sample=False, **options)
    assert [record["generated_text"] for record in found] == expected


def test_a_batch_is_as_its_images_alone(subjects):
    pipe, _ = subjects
    images = [picture(), picture(1), picture(size=(90, 31))]
    alone = [pipe(image, max_new_tokens=TOKENS, do_sample=False) for image in images]
    assert pipe(images, max_new_tokens=TOKENS, do_sample=False, batch_size=2) == alone


def test_what_cannot_be_right_is_refused(subjects):
    pipe, _ = subjects
    with pytest.raises(UsageError, match="'image-to-text' takes no argument 'top'"):
        pipe(picture(), top=3)
    with pytest.raises(UsageError, match="max_new_tokens is 0"):
        pipe(picture(), max_new_tokens=0)
