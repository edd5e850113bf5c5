"""The image pipelines beside transformers.pipeline: same inputs, same results, in the same shape."""

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import transformers
from PIL import Image
from transformers.pipelines.pt_utils import KeyDataset

from tests.checkpoints import make_checkpoint
from tests.images import picture
from vitrify import export_bundle, pipeline
from vitrify.runtime.errors import UsageError
from vitrify.runtime.loading import LoadedBundle

TOLERANCE = 1e-4
TYPES = ("vit", "convnext")  # a fixed image size, and a dynamic one
CLASSIFY, EXTRACT = ("image-classification", "image-classification"), ("image-feature-extraction", "base")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Return a function from a type and a task with its head to (transformers' pipeline, ours), each made once."""
    made = {}

    def get(model_type, task, head):
        key = (model_type, head)
        if key not in made:
            folder = tmp_path_factory.mktemp("-".join(key))
            checkpoint, bundle = folder / "checkpoint", folder / "bundle"
            make_checkpoint(model_type, head, checkpoint)
            export_bundle(checkpoint, bundle)
            processor = transformers.AutoImageProcessor.from_pretrained(checkpoint, backend="pil")
            theirs = transformers.pipeline(task, model=str(checkpoint), image_processor=processor, device="cpu")
            made[key] = theirs, partial(pipeline, task, bundle)
        theirs, ours = made[key]
        return theirs, ours()

    return get


def assert_same_labels(got, expected):
    """Same labels with the same scores; the order is the same where the scores say so."""
    assert [set(item) for item in got] == [{"label", "score"}] * len(expected)
    assert all(type(item["score"]) is float for item in got)
    np.testing.assert_allclose([x["score"] for x in got], [x["score"] for x in expected], atol=TOLERANCE, rtol=0)
    scores = {item["label"]: item["score"] for item in got}
    assert scores == pytest.approx({item["label"]: item["score"] for item in expected}, abs=TOLERANCE)
    clear = np.diff([item["score"] for item in expected]) < -2 * TOLERANCE
    if clear.all():
        assert [item["label"] for item in got] == [item["label"] for item in expected]


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 2},
        {"top_k": 100},
        {"top_k": None},
        {"function_to_apply": "sigmoid"},
        {"function_to_apply": "NONE"},
    ],
)
def test_classification_gives_the_same_labels_and_scores(pair, model_type, options):
    theirs, ours = pair(model_type, *CLASSIFY)
    for seed in (0, 1):
        assert_same_labels(ours(picture(seed), **options), theirs(picture(seed), **options))


@pytest.mark.parametrize("model_type", TYPES)
def test_images_give_results_that_differ(pair, model_type):
    _, ours = pair(model_type, *CLASSIFY)
    first, second = ({x["label"]: x["score"] for x in ours(picture(seed), top_k=7)} for seed in (0, 1))
    assert max(abs(first[label] - second[label]) for label in first) > 100 * TOLERANCE


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_a_list_gives_a_list_of_lists_whatever_the_batch(pair, model_type, batch_size):
    theirs, ours = pair(model_type, *CLASSIFY)
    pictures = [picture(seed, size) for seed, size in enumerate([(57, 43), (40, 90), (64, 64)])]
    results = ours(pictures, batch_size=batch_size)
    expected = theirs(pictures, batch_size=batch_size)
    assert isinstance(results, list)
    assert len(results) == len(expected)
    for got, wanted in zip(results, expected, strict=True):
        assert_same_labels(got, wanted)


def test_an_image_comes_in_any_form(pair, tmp_path):
    theirs, ours = pair("vit", *CLASSIFY)
    image = picture()
    path = tmp_path / "picture.png"
    image.save(path)
    content = path.read_bytes()
    expected = theirs(str(path))
    forms = {
        "pillow": image,
        "path": path,
        "text": str(path),
        "array": np.asarray(image),
        "channels first": np.asarray(image).transpose(2, 0, 1),
        "bytes": content,
        "stream": io.BytesIO(content).getbuffer(),
        "base64": base64.b64encode(content).decode(),
        "data URI": "data:image/png;base64," + base64.b64encode(content).decode(),
    }
    for form in forms.values():
        assert_same_labels(ours(form), expected)
        (listed,) = ours([form])
        assert_same_labels(listed, expected)
    assert_same_labels(ours(inputs=image), theirs(inputs=image))


def test_data_sets_and_open_files(pair, tmp_path):
    theirs, ours = pair("vit", *CLASSIFY)
    pictures = KeyDataset([{"image": picture(seed)} for seed in range(3)], "image")  # pyright: ignore[reportArgumentType]
    results = ours(pictures, batch_size=2)
    assert len(results) == 3
    for got, wanted in zip(results, theirs(pictures), strict=True):
        assert_same_labels(got, wanted)
    picture(0).save(tmp_path / "picture.png")
    with (tmp_path / "picture.png").open("rb") as file:
        assert_same_labels(ours(file), theirs(picture(0)))
    with (tmp_path / "picture.png").open() as text, pytest.raises(UsageError, match="open it with mode 'rb'"):
        ours(text)


def test_nothing_gives_nothing_and_any_iterable_is_lazy(pair):
    _, ours = pair("vit", *CLASSIFY)
    asked = []

    def pictures() -> Iterator[Image.Image]:
        for seed in range(3):
            asked.append(seed)
            yield picture(seed)

    assert ours([]) == []
    results = ours(pictures())
    assert asked == []
    assert_same_labels(next(results), ours(picture(0)))
    assert asked == [0]
    assert len(list(ours(map(picture, range(3))))) == 3


def test_an_argument_at_init_time_holds_until_a_call_gives_another(pair, tmp_path):
    _, ours = pair("vit", *CLASSIFY)
    two = pipeline("image-classification", ours.bundle, top_k=2)
    assert [len(two(picture(), **options)) for options in ({}, {"top_k": 3}, {"top_k": None})] == [2, 3, 2]


@pytest.mark.parametrize(
    ("inputs", "options", "words"),
    [
        (None, {}, "expects an image"),
        (3, {}, "expects an image"),
        ([[1, 2]], {}, "cannot be a list"),
        (np.zeros((2, 3, 8, 8), np.uint8), {}, "shape"),
        ("no-such-file.png", {}, "no-such-file.png"),
        (picture(), {"top_k": 0}, "top_k"),
        (picture(), {"function_to_apply": "tanh"}, "softmax"),
        (picture(), {"timeout": -1}, "timeout"),
        (picture(), {"colour": 1}, "colour"),
    ],
)
def test_what_is_no_image_or_no_argument_is_refused(pair, inputs, options, words):
    _, ours = pair("vit", *CLASSIFY)
    with pytest.raises(UsageError, match=words):
        ours(inputs, **options)


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("pool", [False, True])
def test_features_are_the_same_nested_lists(pair, model_type, pool):
    theirs, ours = pair(model_type, *EXTRACT)
    expected = theirs(picture(), pool=pool)
    got = ours(picture(), pool=pool)
    assert isinstance(got, list)
    assert np.shape(got) == np.shape(expected)
    np.testing.assert_allclose(got, expected, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(ours(picture(), pool=pool, return_tensors=True), expected, atol=TOLERANCE, rtol=0)
    json.dumps(got)


def test_the_processor_takes_other_settings_for_a_call(pair):
    theirs, ours = pair("convnext", *EXTRACT)
    options = {"image_processor_kwargs": {"size": {"shortest_edge": 96}}}
    expected = theirs(picture(), **options)
    assert np.shape(expected) != np.shape(theirs(picture()))
    np.testing.assert_allclose(ours(picture(), **options), expected, atol=TOLERANCE, rtol=0)


def test_images_of_different_sizes_run_in_one_call(pair, tmp_path):
    _, ours = pair("convnext", *EXTRACT)
    keeps_proportions = {
        "image_processor_type": "BitImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": 64},
        "do_center_crop": False,
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(keeps_proportions))
    mixed = pipeline("image-feature-extraction", ours.bundle, image_processor=tmp_path)
    pictures = [picture(seed, size) for seed, size in enumerate([(64, 128), (200, 90), (96, 192)])]
    together = mixed(pictures, batch_size=3, return_tensors=True)
    assert len({features.shape for features in together}) == 2
    for features, image in zip(together, pictures, strict=True):
        np.testing.assert_allclose(features, mixed(image, return_tensors=True), atol=1e-5, rtol=0)


def test_a_model_without_a_pooler_cannot_pool(pair):
    _, ours = pair("vit", *EXTRACT)
    manifest = ours.bundle.bundle
    graph = replace(manifest.graphs["model"], outputs=manifest.graphs["model"].outputs[:1])
    plain = pipeline("image-feature-extraction", LoadedBundle(replace(manifest, graphs={"model": graph})))
    with pytest.raises(UsageError, match="pooler"):
        plain(picture(), pool=True)


def test_a_size_that_the_graph_does_not_take_is_refused(pair):
    _, ours = pair("vit", *EXTRACT)
    with pytest.raises(UsageError, match="pixel_values"):
        ours(picture(), image_processor_kwargs={"size": {"height": 48, "width": 48}})
    with pytest.raises(UsageError, match="colour"):
        ours(picture(), image_processor_kwargs={"colour": 1})
