"""The modules after a transformer beside sentence-transformers': the same vectors from the same tokens."""

import json

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from tests.checkpoints import make_checkpoint
from tests.parity.compare import TEXTS
from tests.sentence_checkpoints import AFTER, MODES, UNSUPPORTED, make_body, make_sentences, nested, pooled
from vitrify.export.checkpoint.opened import open_checkpoint
from vitrify.export.checkpoint.sentences import Wish
from vitrify.export.modules.chains import read_chains
from vitrify.export.modules.pooling import Pooling
from vitrify.runtime.errors import IntegrityError, UnsupportedError, UsageError

PROMPT = "My name is: "


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    return make_body(tmp_path_factory.mktemp("body"))


def vectors(checkpoint, texts, *, prompt_length=0, output="sentence_embedding"):
    encoded = checkpoint.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
    feeds = {name: encoded[name] for name in checkpoint.input_names if name in encoded}
    if "pooling_mask" in checkpoint.input_names:
        mask = feeds["attention_mask"].clone()
        mask[:, :prompt_length] = 0
        feeds["pooling_mask"] = mask
    with torch.inference_mode():
        return getattr(checkpoint.traced(**feeds), output).numpy()


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-5 * max(1, np.abs(expected).max()), rtol=0)


@pytest.mark.parametrize("name", [name for name in AFTER if name != "router"])
def test_modules_give_what_sentence_transformers_gives(name, body, tmp_path):
    folder = make_sentences(body, tmp_path / "made", AFTER[name]())
    reference, checkpoint = SentenceTransformer(str(folder), device="cpu"), open_checkpoint(folder)
    prompt = PROMPT if "prompt" in name else ""
    length = len(checkpoint.tokenizer(prompt)["input_ids"]) - 1
    found = vectors(checkpoint, [prompt + text for text in TEXTS], prompt_length=length)
    assert_close(found, reference.encode(list(TEXTS), prompt=prompt))
    assert np.ptp(found, axis=0).max() > 1e-3


def test_a_router_gives_a_vector_for_each_task(body, tmp_path):
    folder = make_sentences(body, tmp_path / "made", AFTER["router"]())
    reference, checkpoint = SentenceTransformer(str(folder), device="cpu"), open_checkpoint(folder)
    assert checkpoint.outputs == ("last_hidden_state", "sentence_embedding", "sentence_embedding_query")
    assert_close(vectors(checkpoint, TEXTS), reference.encode_document(list(TEXTS)))
    query = vectors(checkpoint, TEXTS, output="sentence_embedding_query")
    assert_close(query, reference.encode_query(list(TEXTS)))
    assert np.abs(query - vectors(checkpoint, TEXTS)).max() > 1e-2


@pytest.mark.parametrize("route", ["query", "document"])
def test_one_route_of_a_router(body, tmp_path, route):
    folder = make_sentences(body, tmp_path / "made", AFTER["router"]())
    reference = SentenceTransformer(str(folder), device="cpu")
    checkpoint = open_checkpoint(folder, sentences=Wish(route=route))
    assert checkpoint.outputs == ("last_hidden_state", "sentence_embedding")
    assert_close(vectors(checkpoint, TEXTS), reference.encode(list(TEXTS), task=route))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_every_mode_on_padding_of_either_side_and_on_rows_of_nothing_but_prompt(mode, side):
    torch.manual_seed(0)
    states, mask = torch.randn(4, 6, 5), torch.ones(4, 6, dtype=torch.int64)
    for row, length in enumerate((6, 4, 2, 1)):
        mask[row, slice(length, None) if side == "right" else slice(0, 6 - length)] = 0
    first = mask.argmax(1, keepdim=True)
    pooling_mask = (torch.arange(6)[None] >= first + 1).long() * mask
    features = {"token_embeddings": states, "attention_mask": mask, "pooling_mask": pooling_mask}
    found = Pooling((mode,), include_prompt=False)(dict(features))["sentence_embedding"]
    reference = pooled(mode, include_prompt=False)
    expected = reference({**features, "prompt_length": 1})["sentence_embedding"]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("settings", [{}, {"pooling_mode_cls_token": True, "pooling_mode_lasttoken": True}])
def test_settings_of_earlier_releases(settings):
    modes = ("cls", "lasttoken") if settings else ("mean",)
    assert Pooling.from_settings(settings, "config.json").modes == modes
    with pytest.raises(IntegrityError, match="'median'"):
        Pooling.from_settings({"pooling_mode": "median"}, "config.json")


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_other_modules_are_refused_by_name_unless_they_are_ignored(kind, body, tmp_path):
    folder = make_sentences(body, tmp_path / "made", [UNSUPPORTED[kind](), pooled("mean")])
    with pytest.raises(UnsupportedError, match=f"module {kind} of .*--ignore-modules"):
        read_chains(folder)
    assert [module.kind for module in read_chains(folder, ignore=True).listed] == ["Transformer", "Pooling"]


def test_modules_of_others_and_first_modules_without_states_are_refused(body, tmp_path):
    folder = make_sentences(body, tmp_path / "made", [pooled("mean")])
    listing = json.loads((folder / "modules.json").read_text())
    for kind, words in [
        ("custom_st.Transformer", "custom_st.Transformer"),
        ("sentence_transformers.models.BoW", "BoW"),
    ]:
        (folder / "modules.json").write_text(json.dumps([{**listing[0], "type": kind}, *listing[1:]]))
        with pytest.raises(UnsupportedError, match=words):
            open_checkpoint(folder)
    (folder / "modules.json").write_text(json.dumps(listing[:1]))
    with pytest.raises(UnsupportedError, match="for want of a Pooling"):
        open_checkpoint(folder)
    (folder / "modules.json").write_text(json.dumps([{**listing[0], "path": "../elsewhere"}]))
    with pytest.raises(IntegrityError, match="outside it"):
        open_checkpoint(folder)


def test_a_transformer_in_a_folder_of_its_own(body, tmp_path):
    folder = make_sentences(body, tmp_path / "made", AFTER["dense"]())
    moved = nested(folder, tmp_path / "nested")
    assert_close(vectors(open_checkpoint(moved), TEXTS), vectors(open_checkpoint(folder), TEXTS))
    assert open_checkpoint(moved, task="feature-extraction").head.name == "base"


def test_a_plain_checkpoint_pools_as_asked(body):
    default, asked = (
        open_checkpoint(body, task="text-embedding", sentences=Wish(pooling=modes, normalize=bool(modes)))
        for modes in ((), ("cls", "max"))
    )
    reference = SentenceTransformer(str(body), device="cpu")
    assert_close(vectors(default, TEXTS), reference.encode(list(TEXTS)))
    assert vectors(asked, TEXTS).shape == (len(TEXTS), 64)
    np.testing.assert_allclose(np.linalg.norm(vectors(asked, TEXTS), axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("task", "wish", "words"),
    [
        ("feature-extraction", Wish(pooling=("mean",)), "pooling is for text-embedding"),
        ("text-embedding", Wish(pooling=("median",)), "'median'"),
        ("text-embedding", Wish(route="query"), "route"),
    ],
)
def test_what_a_plain_checkpoint_does_not_accept(body, task, wish, words):
    with pytest.raises(UsageError, match=words):
        open_checkpoint(body, task=task, sentences=wish)


def test_a_checkpoint_with_modules_says_itself_how_it_pools(body, tmp_path):
    folder = make_sentences(body, tmp_path / "made", AFTER["dense"]())
    with pytest.raises(UsageError, match="leave pooling and normalize out"):
        open_checkpoint(folder, sentences=Wish(pooling=("cls",)))
    with pytest.raises(UsageError, match="leave --route out"):
        open_checkpoint(folder, sentences=Wish(route="query"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"transformer_task": "fill-mask"}, "task 'fill-mask'"),
        ({"model_args": {"rope_scaling": 2}}, "model_args.rope_scaling"),
        ({"tokenizer_args": {"use_fast": False}}, "tokenizer_args.use_fast"),
        ({"query_expansion": {"length": 32}}, "'query_expansion'"),
        ({"made_up": 1}, "'made_up'"),
    ],
)
def test_settings_of_a_transformer_that_a_bundle_does_not_have_are_refused(body, tmp_path, settings, words):
    folder = make_sentences(body, tmp_path / "made", [pooled("mean")])
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
    with pytest.raises(UnsupportedError, match=words):
        open_checkpoint(folder)


def test_lower_case_is_the_tokenizers(tmp_path):
    body = make_body(tmp_path / "body", "roberta")
    folder = make_sentences(body, tmp_path / "made", [pooled("mean")])
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 128, "do_lower_case": True}))
    reference, checkpoint = SentenceTransformer(str(folder), device="cpu"), open_checkpoint(folder)
    assert_close(vectors(checkpoint, TEXTS[:2]), reference.encode(list(TEXTS[:2])))
    assert_close(vectors(checkpoint, [TEXTS[0]]), vectors(checkpoint, [TEXTS[0].upper()]))


def test_an_encoder_decoder_gives_its_encoders_states(tmp_path):
    body = make_checkpoint("t5", "seq2seq-lm", tmp_path / "body")
    folder = make_sentences(body, tmp_path / "made", [pooled("mean"), *AFTER["dense"]()[1:]])
    reference, checkpoint = SentenceTransformer(str(folder), device="cpu"), open_checkpoint(folder)
    assert type(checkpoint.model).__name__ == "T5EncoderModel"
    assert_close(vectors(checkpoint, TEXTS), reference.encode(list(TEXTS)))
