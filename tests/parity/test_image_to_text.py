"""image-to-text beside what transformers writes, on tiny encoder-decoders that read pictures or patches of them."""

from functools import cache
from pathlib import Path

import pytest
import torch
import transformers

import vitrify
from tests.checkpoints import make_checkpoint
from tests.images import picture
from vitrify.runtime.errors import UsageError

TOKENS = 12
TASK = "<s_docvqa><s_question>"
# What each type is asked to go on from: Donut's tasks are tokens of their own.
PROMPTS = {"vit-gpt2": "the small", "donut": f"{TASK}the small", "pix2struct": "the small"}
# The quick one in every run; the others, half a minute of tracing each, with `./dev check --all`.
TYPES = ["vit-gpt2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("donut", "pix2struct"))]
PICTURES = [picture(), picture(1), picture(size=(90, 31)), picture(size=(1, 1)), picture(size=(300, 12))]


class Reference:
    """transformers' model of a checkpoint, with what makes its inputs and reads its answers."""

    def __init__(self, checkpoint: Path) -> None:
        self.model = transformers.AutoModelForImageTextToText.from_pretrained(checkpoint).eval()
        self.processor = transformers.AutoImageProcessor.from_pretrained(checkpoint, backend="pil")
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)

    def ids(self, prompt):
        return self.tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]

    def generate(self, images, *, prompt=None, **options):
        inputs = dict(self.processor(images, return_tensors="pt"))
        if prompt is not None:
            inputs["decoder_input_ids"] = self.ids(prompt)
        return self.model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False, **options)

    def texts(self, image, **options):
        return [self.tokenizer.decode(row, skip_special_tokens=True) for row in self.generate(image, **options)]


@pytest.fixture(scope="module")
def subjects(tmp_path_factory):
    """Return a function from a type to (its pipeline, transformers'), each made once."""

    @cache
    def get(model_type):
        folder = tmp_path_factory.mktemp(model_type)
        checkpoint = make_checkpoint(model_type, "image-to-text", folder / "checkpoint")
        if model_type == "donut":
            add_task_tokens(checkpoint)
        vitrify.export_bundle(checkpoint, folder / "bundle", task="image-to-text")
        return vitrify.pipeline("image-to-text", folder / "bundle"), Reference(checkpoint)

    return get


def add_task_tokens(checkpoint: Path) -> None:
    """Give the tokenizer the special tokens that a trained Donut has, and the decoder their embeddings."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    model = transformers.AutoModelForImageTextToText.from_pretrained(checkpoint)
    tokenizer.add_tokens(["<s_docvqa>", "<s_question>"], special_tokens=True)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model.decoder.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(checkpoint)
    tokenizer.save_pretrained(checkpoint)


def written(pipe, images, **options):
    found = pipe(images, max_new_tokens=TOKENS, do_sample=False, **options)
    return [record["generated_text"] for record in found]


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("options", [{}, {"num_beams": 3, "num_return_sequences": 2}])
def test_it_writes_what_transformers_writes(subjects, model_type, options):
    pipe, reference = subjects(model_type)
    for image in PICTURES:
        assert written(pipe, image, **options) == reference.texts(image, **options)


@pytest.mark.parametrize("options", [{}, {"num_beams": 3, "num_return_sequences": 2}], ids=str)
def test_arguments_of_generation_may_come_in_one(subjects, options):
    pipe, reference = subjects("vit-gpt2")
    given = {"max_new_tokens": TOKENS, "do_sample": False, **options}
    made = vitrify.pipeline("image-to-text", pipe.bundle.bundle.folder, generate_kwargs=given)
    expected = [{"generated_text": text} for text in reference.texts(picture(), **options)]
    assert pipe(picture(), generate_kwargs=given) == made(picture()) == made(images=picture()) == expected
    assert pipe(picture(), max_new_tokens=TOKENS, generate_kwargs={"do_sample": False, **options}) == expected


@pytest.mark.parametrize("model_type", TYPES)
def test_it_goes_on_from_a_prompt_as_transformers_does(subjects, model_type):
    pipe, reference = subjects(model_type)
    prompt = PROMPTS[model_type]
    expected = reference.texts(picture(), prompt=prompt)
    assert written(pipe, picture(), prompt=prompt) == expected
    assert expected[0].startswith("the small")
    assert expected != reference.texts(picture())


@pytest.mark.slow
def test_the_task_of_a_donut_is_the_whole_start_of_its_answer(subjects):
    pipe, reference = subjects("donut")
    start = reference.ids(TASK)
    assert reference.tokenizer.convert_ids_to_tokens(start[0]) == ["<s_docvqa>", "<s_question>"]
    expected = reference.generate(picture(), prompt=TASK)
    given = {**pipe.image_processor(picture()), "decoder_input_ids": start.numpy()}
    made = pipe.bundle.generate(**given, max_new_tokens=TOKENS, do_sample=False)
    assert made.tolist() == expected.tolist()
    assert made[0, :2].tolist() == start[0].tolist()
    assert written(pipe, picture(), prompt=TASK) == reference.texts(picture(), prompt=TASK)


@pytest.mark.parametrize("model_type", TYPES)
def test_generating_by_hand_is_as_transformers(subjects, model_type):
    pipe, reference = subjects(model_type)
    bundle = vitrify.load_bundle(pipe.bundle.bundle.folder)
    made = bundle.generate(**bundle.image_processor(PICTURES[:2]), max_new_tokens=TOKENS, do_sample=False)
    assert made.tolist() == reference.generate(PICTURES[:2]).tolist()


@pytest.mark.parametrize("model_type", TYPES)
def test_a_batch_is_as_its_images_alone(subjects, model_type):
    pipe, _ = subjects(model_type)
    options = {"max_new_tokens": TOKENS, "do_sample": False, "prompt": PROMPTS[model_type]}
    alone = [pipe(image, **options) for image in PICTURES]
    assert len({record[0]["generated_text"] for record in alone}) > 1, "every picture gets the same answer"
    assert pipe(PICTURES, batch_size=2, **options) == alone


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 3}, "'image-to-text' got an unknown argument 'top'"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"prompt": ["one", "two"]}, "prompt must be one text for all images, got a list"),
    ],
)
def test_what_cannot_be_right_is_refused(subjects, options, message):
    with pytest.raises(UsageError, match=message):
        subjects("vit-gpt2")[0](picture(), **options)


@pytest.mark.parametrize("model_type", TYPES)
def test_what_is_no_picture_is_one_clear_error(subjects, model_type, tmp_path):
    pipe, _ = subjects(model_type)
    path = tmp_path / "picture.png"
    path.write_bytes(b"no image at all")
    with pytest.raises(UsageError, match="is not an image that can be read"):
        pipe(path)


@pytest.mark.slow
def test_a_picture_that_is_too_thin_for_a_donut_is_one_clear_error(subjects):
    pipe, reference = subjects("donut")
    with pytest.raises(ValueError, match="width"):
        reference.generate(picture(size=(400, 12)))
    with pytest.raises(UsageError, match=r"an image of 32 x 1066 .* has no pixel left after thumbnail"):
        pipe(picture(size=(400, 12)))
