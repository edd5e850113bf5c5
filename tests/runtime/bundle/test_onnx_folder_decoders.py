"""Decoders and encoder-decoders that others compiled step as PyTorch does, in every layout."""

import copy
import json
import shutil

import numpy as np
import onnx
import pytest
import torch
import transformers

from tests import onnx_folders as make
from tests.checkpoints import make_checkpoint
from tests.onnx_folders import HALF, NEAR, edited, refused
from vitrify import load_bundle, pipeline
from vitrify.runtime.errors import UnsupportedError, UsageError

TEXTS = ["the cat ran", "a dog and a bird saw the house", "sea"]


# ------------------------------------------------------------------------------------------------------------ decoders


def token_rows(rows, tokens, seed=0):
    return np.random.default_rng(seed).integers(5, 60, (rows, tokens))


@pytest.fixture(scope="module")
def decoders(tmp_path_factory):
    """A PyTorch decoder, and folders of its graphs by layout."""
    place = tmp_path_factory.mktemp("decoders")
    checkpoint = make_checkpoint("llama", "causal-lm", place / "llama")
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, dtype="float32", attn_implementation="eager")
    whole, pair, merged, named = (
        make.settings_of(checkpoint, place / name) for name in ("whole", "pair", "merged", "named")
    )
    make.export_decoder(model, whole / "model.onnx")
    make.export_decoder(model, pair / "onnx" / "decoder_model.onnx", past=0)
    make.export_decoder(model, pair / "onnx" / "decoder_with_past_model.onnx", new=1)
    (merged / "onnx").mkdir()
    halves = pair / "onnx" / "decoder_model.onnx", pair / "onnx" / "decoder_with_past_model.onnx"
    make.merge_decoders(*halves, merged / "onnx" / "decoder_model_merged.onnx")
    shutil.copy(merged / "onnx" / "decoder_model_merged.onnx", named / "model.onnx")
    return model, {"whole": whole, "pair": pair, "merged": merged, "named": named}


LAYOUTS = pytest.mark.parametrize("layout", ["whole", "pair", "merged", "named"])


@LAYOUTS
def test_a_decoder_steps_as_pytorch_does(decoders, layout):
    model, folders = decoders
    ids = token_rows(2, 9)
    with torch.no_grad():
        right = model(torch.tensor(ids)).logits.numpy()
    decoding = load_bundle(folders[layout]).decoding()
    assert decoding.vocabulary == right.shape[-1]
    steps = [decoding.append([*ids[:, :3]]), decoding.append(ids[:, 3:7], keep=None), decoding.append(ids[:, 7:])]
    for found, span in zip(steps, (slice(2, 3), slice(3, 7), slice(8, 9)), strict=True):
        assert found.dtype == np.float32
        assert found.shape == right[:, span].shape
        assert np.abs(found - right[:, span]).max() < NEAR
    other = decoding.clone()
    decoding.truncate(4)
    assert np.abs(decoding.append(ids[:, 4:6], keep=2) - right[:, 4:6]).max() < NEAR
    decoding.truncate(0)
    assert np.abs(decoding.append([*ids[::-1, :5]], keep=2) - right[::-1, 3:5]).max() < NEAR
    assert other.lengths.tolist() == [9, 9]


PROMPTS = [token_rows(1, size, seed=size)[0] for size in (7, 2, 4)]
SEARCHES = [{"max_new_tokens": 5, "do_sample": False, "num_beams": beams} for beams in (1, 3)]


@pytest.fixture(scope="module")
def continued(decoders):
    """What PyTorch writes after each prompt, by search."""
    return [
        [decoders[0].generate(torch.tensor(row[None]), **given)[0].tolist() for row in PROMPTS] for given in SEARCHES
    ]


@LAYOUTS
def test_ragged_prompts_and_beams_answer_as_pytorch(decoders, continued, layout):
    bundle = load_bundle(decoders[1][layout])
    for given, right in zip(SEARCHES, continued, strict=True):
        assert [row.tolist() for row in bundle.generate_rows(PROMPTS, given).sequences] == right
        assert len({tuple(row[-5:]) for row in right}) == len(right)


def test_a_graph_of_later_steps_reads_token_by_token(decoders):
    """Older exports of others have no causal mask there."""
    _, folders = decoders
    for layout, most in (("whole", 4), ("pair", 1), ("merged", 1)):
        bundle = load_bundle(folders[layout])
        decoding, ids, sizes = bundle.decoding(), token_rows(1, 9), []
        decoding.append(ids[:, :3])
        session = decoding._session
        decoding._session = Recorder(session, sizes)
        decoding.append(ids[:, 3:7])
        assert max(sizes) == most


class Recorder:
    def __init__(self, session, sizes):
        self.session, self.sizes, self.inputs = session, sizes, session.inputs

    def run_keeping(self, feeds, kept):
        self.sizes.append(feeds["input_ids"].shape[1])
        return self.session.run_keeping(feeds, kept)


def test_the_pipeline_writes_from_each_layout(decoders):
    found = {
        name: pipeline("text-generation", str(folder))(TEXTS, max_new_tokens=6, do_sample=False, batch_size=3)
        for name, folder in decoders[1].items()
    }
    assert all(texts == found["whole"] for texts in found.values())


def test_a_decoder_in_half_precision(decoders, tmp_path):
    model, folders = decoders
    folder = shutil.copytree(folders["whole"], tmp_path / "half")
    onnx.save(make.in_half(onnx.load(folder / "model.onnx"), cache=True), folder / "model_fp16.onnx")
    (folder / "model.onnx").unlink()
    bundle, ids = load_bundle(folder), token_rows(2, 6)
    assert bundle.profile.name == "fp16"
    assert {tensor.dtype for tensor in bundle.bundle.graphs["model"].inputs if "past" in tensor.name} == {"float16"}
    with torch.no_grad():
        right = model(torch.tensor(ids)).logits.numpy()
    decoding = bundle.decoding()
    decoding.append(ids[:, :5])
    found = decoding.append(ids[:, 5:])
    assert found.dtype == np.float32
    assert np.abs(found - right[:, 5:]).max() < HALF * np.abs(right).max()


def _decoder_edit(change):
    def apply(folder):
        edited(folder / "model.onnx", lambda model: change(model.graph))

    return apply


def _without_cache(graph):
    del graph.input[3:]
    del graph.output[1:]


def _unknown_input(graph):
    graph.input.append(onnx.helper.make_tensor_value_info("inputs_embeds", 1, ["b", "s", 32]))


def _flat_cache(graph):
    del graph.input[3].type.tensor_type.shape.dim[3:]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without_cache, ("no KV cache", "text-generation-with-past")),
        (_unknown_input, ("inputs_embeds", "vitrify export")),
        (_flat_cache, ("past_key_values.0.key", "[batch, heads, past, size]")),
    ],
)
def test_a_decoder_that_the_loop_cannot_run(decoders, tmp_path, change, words):
    folder = shutil.copytree(decoders[1]["whole"], tmp_path / "decoder")
    _decoder_edit(change)(folder)
    refused(UnsupportedError, folder, *words)


def test_attention_that_skips_padding_takes_rows_of_one_length(decoders, tmp_path):
    """GroupQueryAttention reads rows from their first token on; padded ones would come out wrong without a word."""
    folder = shutil.copytree(decoders[1]["whole"], tmp_path / "decoder")

    def mark(graph):
        graph.node[0].doc_string = "GroupQueryAttention"

    _decoder_edit(mark)(folder)
    bundle, rows = load_bundle(folder), [token_rows(1, 5)[0], token_rows(1, 3)[0]]
    with pytest.raises(UsageError, match="one length"):
        bundle.generate_rows(rows, {"max_new_tokens": 2})
    plain = load_bundle(decoders[1]["whole"])
    given = {"max_new_tokens": 4, "do_sample": False}
    for prompts in (rows[:1], [rows[0], rows[0][::-1]]):
        made = [each.generate_rows(prompts, given).sequences for each in (bundle, plain)]
        assert [row.tolist() for row in made[0]] == [row.tolist() for row in made[1]]


# ---------------------------------------------------------------------------------------------------- encoder-decoders


@pytest.fixture(scope="module")
def translators(tmp_path_factory):
    place = tmp_path_factory.mktemp("translators")
    checkpoint = make_checkpoint("bart", "seq2seq-lm", place / "bart")
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(checkpoint, dtype="float32", attn_implementation="eager")
    pair, merged = (make.settings_of(checkpoint, place / name) for name in ("pair", "merged"))
    make.export_encoder_decoder(model, pair)
    (merged / "onnx").mkdir()
    shutil.copy(pair / "encoder_model.onnx", merged / "onnx")
    halves = pair / "decoder_model.onnx", pair / "decoder_with_past_model.onnx"
    make.merge_decoders(*halves, merged / "onnx" / "decoder_model_merged.onnx")
    return model, {"pair": pair, "merged": merged}


SOURCES = token_rows(3, 8)
MASK = (np.arange(8) < np.array([[8], [3], [5]])).astype(np.int64)


@pytest.fixture(scope="module")
def translated(translators):
    """What PyTorch answers to the sources, by search."""
    given = {"input_ids": torch.tensor(SOURCES), "attention_mask": torch.tensor(MASK)}
    return [translators[0].generate(**given, **search).tolist() for search in SEARCHES]


@pytest.mark.parametrize("layout", ["pair", "merged"])
def test_an_encoder_decoder_answers_as_pytorch(translators, translated, layout):
    bundle = load_bundle(translators[1][layout])
    for given, right in zip(SEARCHES, translated, strict=True):
        assert bundle.generate(SOURCES, attention_mask=MASK, **given).tolist() == right
        assert len({tuple(row) for row in right}) > 1


def test_without_a_generation_config_every_rule_of_config_json_holds(translators, tmp_path):
    model, folder = copy.copy(translators[0]), shutil.copytree(translators[1]["merged"], tmp_path / "old")
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    rules = {"no_repeat_ngram_size": 2, "min_length": 6, "max_length": 12, "bad_words_ids": [[7], [11]], "num_beams": 2}
    tokens = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    (folder / "config.json").write_text(json.dumps({**config, **tokens, **rules}))
    model.generation_config = transformers.GenerationConfig.from_pretrained(
        folder, "config.json", _from_model_config=True
    )
    given = {"input_ids": torch.tensor(SOURCES), "attention_mask": torch.tensor(MASK)}
    right = model.generate(**given).tolist()
    assert load_bundle(folder).generate(SOURCES, attention_mask=MASK).tolist() == right
    assert right != model.generate(**given, no_repeat_ngram_size=0).tolist()


@pytest.mark.parametrize("layout", ["pair", "merged"])
def test_cross_attention_stays_that_of_the_first_step(translators, layout):
    model, folders = translators
    source, ids = token_rows(2, 7), token_rows(2, 8, seed=1)
    mask = np.ones_like(source)
    with torch.no_grad():
        right = model(torch.tensor(source), decoder_input_ids=torch.tensor(ids)).logits.numpy()
    decoding = load_bundle(folders[layout]).decoding(input_ids=source, attention_mask=mask)
    decoding.append(ids[:, :2])
    decoding.append(ids[:, 2:3])
    decoding.select(np.array([1, 1, 0]))
    found = decoding.append(ids[[1, 1, 0], 3:6], keep=None)
    assert np.abs(found - right[[1, 1, 0], 3:6]).max() < NEAR
    decoding.truncate(0)
    assert np.abs(decoding.append(ids[[1, 1, 0], :4], keep=2) - right[[1, 1, 0], 2:4]).max() < NEAR
