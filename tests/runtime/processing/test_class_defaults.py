"""Folders whose files leave out what a class implies, beside transformers' reading of the same folders."""

import json

import numpy as np
import pytest
import transformers
from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoTokenizer

from tests.checkpoints import TOKENIZERS
from tests.class_defaults import FOLDER, tables, text_of
from tests.images import picture
from tests.tokenizers_tiny import tiny_tokenizer
from vitrify.runtime.errors import UnsupportedError, UsageError
from vitrify.runtime.processing.audio.features import EXTRACTORS, SpeechProcessor
from vitrify.runtime.processing.image.processor import PROCESSORS, ImageProcessor
from vitrify.runtime.processing.text.special_tokens import NAMED
from vitrify.runtime.processing.text.tokenizer import Tokenizer

SETTINGS = ("padding_side", "truncation_side", "pad_token_type_id", "clean_up_tokenization_spaces")
PAIR = ("the quick brown fox", "My name is Sarah")


def test_the_tables_are_those_of_transformers():
    found = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    assert found == {name: text_of(table) for name, table in tables().items()}, "run python -m tests.class_defaults"


def write(folder, name, values):
    (folder / name).write_text(json.dumps(values), encoding="utf-8")


def bare(folder, recipe, **config):
    """A tokenizer's folder whose tokenizer_config.json says no more than `config`."""
    made = tiny_tokenizer(TOKENIZERS[recipe], model_max_length=64)
    made.save_pretrained(folder)
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    write(folder, "tokenizer_config.json", config)
    return made


def assert_same_tokenizer(folder):
    theirs, ours = AutoTokenizer.from_pretrained(folder, local_files_only=True), Tokenizer.from_folder(folder)
    assert list(ours.model_input_names) == theirs.model_input_names
    assert {name: getattr(ours, name) for name in SETTINGS} == {name: getattr(theirs, name) for name in SETTINGS}
    for name in NAMED:
        # What transformers adds to a vocabulary that has no such token, no graph was made for.
        token = getattr(theirs, name) if getattr(theirs, f"{name}_id") in range(len(ours)) else None
        assert getattr(ours, name) == token, name
    for texts in (PAIR[:1], PAIR):
        expected, found = theirs(*texts, return_tensors="np"), ours(*texts)
        assert set(found) == set(expected)
        for name in found:
            np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize("recipe", sorted(TOKENIZERS))
def test_a_tokenizer_whose_file_names_its_class_only(recipe, tmp_path):
    bare(tmp_path, recipe, tokenizer_class=TOKENIZERS[recipe].cls)
    assert_same_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        *("AlbertTokenizer", "BertTokenizer", "BigBirdTokenizer", "CamembertTokenizer"),
        *("CohereTokenizer", "ConvBertTokenizer", "DebertaTokenizer", "DebertaV2Tokenizer", "DistilBertTokenizer"),
        *("ElectraTokenizer", "FNetTokenizer", "FunnelTokenizerFast", "GemmaTokenizer", "LlamaTokenizer"),
        *("LayoutLMTokenizer", "LxmertTokenizer", "MobileBertTokenizer", "NllbTokenizer"),
        *("OpenAIGPTTokenizer", "Qwen2Tokenizer", "RobertaTokenizer"),
        *("SqueezeBertTokenizer", "T5Tokenizer", "XGLMTokenizer", "XLMRobertaTokenizer", "XLNetTokenizer"),
    ],
)
def test_every_class_has_its_own_tokens_sides_and_inputs(name, tmp_path):
    getattr(transformers, name)().save_pretrained(tmp_path)
    write(tmp_path, "tokenizer_config.json", {"tokenizer_class": name})
    assert_same_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("config", "model"),
    [
        ({}, {"model_type": "bert"}),
        ({}, {"model_type": "distilbert"}),
        ({"tokenizer_class": "ElectraTokenizerFast"}, {"model_type": "electra"}),
        ({}, {"tokenizer_class": "BertTokenizer", "model_type": "roberta"}),
        ({"tokenizer_class": "BertTokenizer"}, {"model_type": "camembert"}),
        ({"tokenizer_class": "BertTokenizer"}, {"model_type": "nystromformer"}),
        ({"tokenizer_class": "BertTokenizer", "mask_token": None, "padding_side": "left"}, {"model_type": "bert"}),
        ({"tokenizer_class": "BertTokenizer", "model_input_names": ["input_ids"]}, {"model_type": "bert"}),
        ({"tokenizer_class": "TokenizersBackend", "pad_token": "[PAD]"}, {"model_type": "bert"}),
    ],
)
def test_the_class_is_the_one_that_transformers_makes(config, model, tmp_path):
    bare(tmp_path, "bert", **config)
    write(tmp_path, "config.json", model)
    assert_same_tokenizer(tmp_path)


def test_a_byte_level_llama_is_not_one(tmp_path):
    bare(tmp_path, "gpt2", tokenizer_class="LlamaTokenizer")
    write(tmp_path, "config.json", {"model_type": "llama"})
    assert_same_tokenizer(tmp_path)


def test_padding_that_tokenizer_json_asks_for_is_the_tokenizer_s(tmp_path):
    made = bare(tmp_path, "bert", tokenizer_class="PreTrainedTokenizerFast")
    made.backend_tokenizer.enable_padding(direction="left", pad_token="[SEP]", pad_id=made.sep_token_id)
    made.backend_tokenizer.enable_truncation(5, direction="left")
    made.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    theirs, ours = AutoTokenizer.from_pretrained(tmp_path), Tokenizer.from_folder(tmp_path)
    names = ("pad_token", "padding_side", "truncation_side")
    assert {name: getattr(ours, name) for name in names} == {name: getattr(theirs, name) for name in names}
    assert ours.padding_side == "left"


def test_a_pair_of_a_tokenizer_of_no_known_class_has_its_template_s_segments(tmp_path):
    made = bare(tmp_path, "bert", tokenizer_class="MineTokenizer")
    ours = Tokenizer.from_folder(tmp_path)
    (encoding,) = ours(*PAIR).encodings
    expected = made(*PAIR)["token_type_ids"]
    assert "token_type_ids" not in AutoTokenizer.from_pretrained(tmp_path)(*PAIR)
    assert ours.segments(encoding).tolist() == expected
    assert 1 in expected


@pytest.mark.parametrize("name", ["AlbertTokenizer", "FunnelTokenizerFast"])
def test_a_pair_is_one_segment_where_transformers_gives_none(name, tmp_path):
    getattr(transformers, name)().save_pretrained(tmp_path)
    write(tmp_path, "tokenizer_config.json", {"tokenizer_class": name})
    assert "token_type_ids" not in AutoTokenizer.from_pretrained(tmp_path)(*PAIR)
    ours = Tokenizer.from_folder(tmp_path)
    assert not ours.segments(ours(*PAIR).encodings[0]).any()


def test_a_pair_that_nothing_says_the_segments_of_is_refused(tmp_path):
    made = bare(tmp_path, "bert", tokenizer_class="MineTokenizer")
    backend = json.loads(made.backend_tokenizer.to_str())
    write(tmp_path, "tokenizer.json", backend | {"post_processor": None})
    ours = Tokenizer.from_folder(tmp_path)
    assert not ours.segments(ours(PAIR[0]).encodings[0]).any()
    with pytest.raises(UsageError, match=r'add to tokenizer_config\.json "model_input_names"'):
        ours.segments(ours(*PAIR).encodings[0])


# -------------------------------------------------------------------------------------------------------------- images


def assert_same_pixels(folder, *, size=(90, 60)):
    theirs = AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
    image = picture(size=size)
    expected = theirs(image, return_tensors="np")
    found = ImageProcessor.from_folder(folder)(image)
    assert set(found) == set(expected)
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", [*sorted(PROCESSORS), "ViTImageProcessorFast", "CLIPImageProcessorPil"])
def test_an_image_processor_whose_file_names_its_class_only(name, tmp_path):
    write(tmp_path, "preprocessor_config.json", {"image_processor_type": name})
    if name == "DonutImageProcessor":  # its page is of five million pixels
        write(tmp_path, "preprocessor_config.json", {"image_processor_type": name, "size": [96, 128]})
    assert_same_pixels(tmp_path)


KEPT = {"do_resize": True, "do_normalize": True, "image_mean": [0.4] * 3, "image_std": [0.5] * 3, "resample": 2}


@pytest.mark.parametrize(
    ("saved", "model"),
    [
        ({**KEPT, "feature_extractor_type": "ViTFeatureExtractor", "size": 32}, {"model_type": "vit"}),
        ({**KEPT, "size": {"height": 32, "width": 32}}, {"model_type": "vit"}),
        ({**KEPT, "size": 32}, {"model_type": "clip"}),
        ({"feature_extractor_type": "CLIPFeatureExtractor", "size": 48, "crop_size": 32}, {"model_type": "clip"}),
        ({"feature_extractor_type": "ConvNextFeatureExtractor", "size": 64}, {"model_type": "resnet"}),
        ({"size": {"shortest_edge": 40}, "do_center_crop": False}, {"model_type": "convnextv2"}),
        ({"image_processor_type": "BeitImageProcessor", "do_normalize": None, "size": 30}, {"model_type": "vit"}),
        ({"size": 30, "do_rescale": False}, {"model_type": "swin"}),
    ],
    ids=str,
)
def test_an_image_processor_whose_file_leaves_settings_out(saved, model, tmp_path):
    write(tmp_path, "preprocessor_config.json", saved)
    write(tmp_path, "config.json", model)
    assert_same_pixels(tmp_path)


def test_processors_in_one_file_are_read(tmp_path):
    write(tmp_path, "processor_config.json", {"image_processor": {"image_processor_type": "ViTImageProcessor"}})
    assert_same_pixels(tmp_path)
    write(
        tmp_path, "processor_config.json", {"feature_extractor": {"feature_extractor_type": "Wav2Vec2FeatureExtractor"}}
    )
    assert SpeechProcessor.from_folder(tmp_path).settings.do_normalize


def test_an_image_processor_that_no_file_names_is_refused(tmp_path):
    write(tmp_path, "preprocessor_config.json", KEPT)
    with pytest.raises(UnsupportedError, match=r'add "image_processor_type" to preprocessor_config\.json'):
        ImageProcessor.from_folder(tmp_path)


# --------------------------------------------------------------------------------------------------------------- audio


@pytest.mark.parametrize(
    ("saved", "model"),
    [
        *(({"feature_extractor_type": name}, {}) for name in sorted(EXTRACTORS)),
        *(({}, {"model_type": name}) for name in ("hubert", "moonshine", "speech_to_text", "wavlm", "whisper")),
        ({"do_normalize": None, "return_attention_mask": None}, {"model_type": "wav2vec2"}),
        ({"feature_size": 128, "chunk_length": 5}, {"model_type": "whisper"}),
    ],
    ids=str,
)
def test_a_feature_extractor_whose_file_leaves_settings_out(saved, model, tmp_path):
    write(tmp_path, "preprocessor_config.json", saved)
    write(tmp_path, "config.json", model)
    theirs, ours = AutoFeatureExtractor.from_pretrained(tmp_path), SpeechProcessor.from_folder(tmp_path)
    assert ours.sampling_rate == theirs.sampling_rate
    sound = np.random.default_rng(0).standard_normal(9_000).astype(np.float32)
    expected = theirs(sound, sampling_rate=ours.sampling_rate, return_tensors="np")
    found = ours(sound)
    assert set(found) == set(expected)
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=0, atol=1e-4)
