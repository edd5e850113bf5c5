"""The clients that people have talk to a server: Hugging Face's and OpenAI's own, and what speaks TEI's routes."""

import base64
import dataclasses
import io
import wave
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openai
import pytest
from huggingface_hub import InferenceClient

from tests.images import picture
from tests.serving.conftest import serving
from tests.sounds import sound
from vitrify import pipeline

CLOSE = 1e-5
TEXT, OTHER, LONG = "My name is Sarah and I live in London", "the quick brown fox", "the fox " * 40
TEXTS = [TEXT, OTHER, "a", LONG]
LABELS = ["politics", "sports", "the fox"]
SEVEN = {"max_new_tokens": 7, "min_new_tokens": 7}
QUESTION = {"question": "Where do I live?", "context": TEXT}
MASKED = "the [MASK] fox"


def plain(value):
    """Return a typed result of the client as the pipeline has it."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if dataclasses.is_dataclass(value):
        return {name: plain(each) for name, each in vars(value).items() if each is not None}
    return value.tolist() if isinstance(value, np.ndarray) else value


def assert_same(one, other):
    """Two results are the same, their numbers within rounding."""
    one, other = plain(one), plain(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for each, beside in zip(one, other, strict=True):
            assert_same(each, beside)
    else:
        assert one == (pytest.approx(other, abs=CLOSE) if isinstance(one, float) else other)


@pytest.fixture
def client(server):
    return lambda name: InferenceClient(base_url=f"{server.url}/models/{name}", timeout=60)


@pytest.mark.parametrize("options", [{}, {"top_k": 2}, {"top_k": 3, "function_to_apply": "sigmoid"}])
def test_text_classification(client, pipe, options):
    expected = pipe("classifier", "text-classification")(TEXT, **options)
    assert_same(client("classifier").text_classification(TEXT, **options), expected)


@pytest.mark.parametrize("options", [{}, {"aggregation_strategy": "simple"}, {"ignore_labels": ["B-LOC"]}])
def test_token_classification(client, pipe, options):
    made = client("tagger").token_classification(TEXT, **options)
    expected = pipe("tagger", "token-classification")(TEXT, **options)
    # Whole words' fields, which the client knows under two names, are compared by those that the pipeline has.
    assert_same([{name: each[name] for name in theirs} for each, theirs in zip(made, expected, strict=True)], expected)


def test_question_answering(client, pipe):
    made = client("reader").question_answering(**QUESTION, max_answer_len=3)
    assert_same(made, pipe("reader", "question-answering")(QUESTION, max_answer_len=3))


@pytest.mark.parametrize("options", [{}, {"top_k": 2}, {"targets": ["fox", "a"]}])
def test_fill_mask(client, pipe, options):
    made = client("filler").fill_mask(MASKED, **options)
    expected = pipe("filler", "fill-mask")(MASKED, **options)
    assert_same([{**plain(each), "token_str": each.token_str} for each in made], expected)


@pytest.mark.parametrize("options", [{}, {"multi_label": True, "hypothesis_template": "It is {}."}])
def test_zero_shot_classification(client, pipe, options):
    made = client("classifier").zero_shot_classification(TEXT, LABELS, **options)
    expected = pipe("classifier", "zero-shot-classification")(TEXT, candidate_labels=LABELS, **options)
    pairs = zip(expected["labels"], expected["scores"], strict=True)
    assert_same(made, [{"label": label, "score": score} for label, score in pairs])


@pytest.mark.parametrize("inputs", [TEXT, TEXTS[:3]], ids=["one", "several"])
def test_feature_extraction(client, pipe, inputs):
    client_, ours = client("extractor"), pipe("extractor", "feature-extraction")
    for text in [inputs] if isinstance(inputs, str) else inputs:
        np.testing.assert_allclose(client_.feature_extraction(text), ours(text), atol=CLOSE)


@pytest.mark.parametrize(
    ("options", "ours"),
    [
        ({}, {}),
        ({"normalize": True}, {"normalize_embeddings": True}),
        ({"dimensions": 8, "normalize": True}, {"truncate_dim": 8, "normalize_embeddings": True}),
        ({"truncate": True, "truncation_direction": "right"}, {}),
    ],
)
@pytest.mark.parametrize("inputs", [TEXT, TEXTS], ids=["one", "several"])
def test_embeddings_by_feature_extraction(client, pipe, inputs, options, ours):
    made = client("embedder").feature_extraction(inputs, **options)
    np.testing.assert_allclose(made, pipe("embedder", "text-embedding")(inputs, **ours), atol=CLOSE)


def test_sentence_similarity(client, pipe):
    ours = pipe("embedder", "text-embedding")
    made = client("embedder").sentence_similarity(TEXT, other_sentences=TEXTS)
    assert made == pytest.approx(ours.similarity(ours(TEXT), ours(TEXTS))[0].tolist(), abs=CLOSE)


@pytest.mark.parametrize(
    ("options", "ours"),
    [
        ({}, {}),
        ({"return_full_text": True}, {"return_full_text": True}),
        ({"stop": ["a"]}, {"stop_strings": ["a"]}),
        ({"do_sample": True, "seed": 3, "temperature": 0.8, "top_k": 5}, None),
        ({"grammar": {"type": "regex", "value": "[ab]{4}"}}, {"regex": "[ab]{4}"}),
    ],
)
def test_text_generation(client, pipe, options, ours):
    given = {"max_new_tokens": 8, "do_sample": False, **options}
    expected = {
        "max_new_tokens": 8,
        "do_sample": False,
        "return_full_text": False,
        **(options if ours is None else ours),
    }
    made = client("writer").text_generation(OTHER, **given)
    assert made == pipe("writer", "text-generation")(OTHER, **expected)[0]["generated_text"]


def test_the_address_of_the_only_model(bundles, tmp_path):
    with serving(tmp_path, bundles["classifier"]) as one:
        client = InferenceClient(model=one.url, timeout=60)
        assert_same(client.text_classification(TEXT), pipeline(model=bundles["classifier"])(TEXT))


def test_a_list_of_inputs_gives_a_list_of_results(server, pipe):
    tasks = {"tagger": "token-classification", "filler": "fill-mask", "reader": "question-answering"}
    inputs = {"tagger": TEXT, "filler": MASKED, "reader": QUESTION}
    for name, task in tasks.items():
        one = pipe(name, task)(inputs[name])
        for count in (1, 3):
            assert_same(server.ask(f"/models/{name}", {"inputs": [inputs[name]] * count}).document, [one] * count)


def test_parameters_at_the_root_are_those_among_the_parameters(server):
    inside = server.ask("/models/classifier", {"inputs": TEXT, "parameters": {"top_k": 2}})
    assert server.ask("/models/classifier", {"inputs": TEXT, "top_k": 2}).document == inside.document
    assert len(inside.document[0]) == 2


# OpenAI.


@pytest.fixture
def ai(server):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="-", max_retries=0, timeout=60)


@pytest.mark.parametrize("form", ["float", "base64"])
@pytest.mark.parametrize("inputs", [TEXT, TEXTS, [TEXT]], ids=["one", "several", "list of one"])
def test_openai_embeddings(ai, pipe, inputs, form):
    made = ai.embeddings.create(model="embedder", input=inputs, encoding_format=form)
    vectors = [
        np.frombuffer(base64.b64decode(each.embedding), "<f4") if form == "base64" else each.embedding
        for each in made.data
    ]
    expected = pipe("embedder", "text-embedding")([inputs] if isinstance(inputs, str) else inputs)
    np.testing.assert_allclose(vectors, expected, atol=CLOSE)
    assert [each.index for each in made.data] == list(range(len(expected)))
    assert made.model == "embedder"
    assert made.usage.prompt_tokens == made.usage.total_tokens > len(expected)


def test_openai_embeddings_of_fewer_dimensions_have_length_1(ai, pipe):
    made = ai.embeddings.create(model="embedder", input=TEXT, dimensions=8)
    expected = pipe("embedder", "text-embedding")(TEXT, truncate_dim=8, normalize_embeddings=True)
    np.testing.assert_allclose(made.data[0].embedding, expected, atol=CLOSE)
    assert np.linalg.norm(made.data[0].embedding) == pytest.approx(1, abs=CLOSE)


def test_openai_embeddings_of_tokens_are_those_of_their_text(ai, pipe):
    ours = pipe("embedder", "text-embedding")
    ids = [ours.tokenizer.encode(text, add_special_tokens=special) for text in TEXTS for special in (False, True)]
    for inputs in (ids[0], ids):
        made = ai.embeddings.create(model="embedder", input=inputs, encoding_format="float")
        expected = ours([TEXT] if inputs is ids[0] else [text for text in TEXTS for _ in range(2)])
        np.testing.assert_allclose([each.embedding for each in made.data], expected, atol=CLOSE)


def test_openai_models(ai, bundles):
    assert [model.id for model in ai.models.list()] == list(bundles)
    assert ai.models.retrieve("embedder").id == "embedder"
    with pytest.raises(openai.NotFoundError, match="no model 'nope'"):
        ai.models.retrieve("nope")


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"model": "nope"}, openai.NotFoundError, "no model 'nope'"),
        ({"model": "classifier"}, openai.BadRequestError, "text-embedding"),
        ({"dimensions": 33}, openai.BadRequestError, "at most 32"),
        ({"input": []}, openai.BadRequestError, "empty list"),
    ],
)
def test_openai_raises_its_own_errors(ai, asked, error, said):
    with pytest.raises(error, match=said) as raised:
        ai.embeddings.create(**{"model": "embedder", "input": TEXT, **asked})
    assert raised.value.body["code"] in {"model_not_found", "invalid_request_error"}


# text-embeddings-inference, Jina and Cohere.


@pytest.mark.parametrize("path", ["/embed", "/models/embedder/embed"])
@pytest.mark.parametrize("options", [{}, {"normalize": False}, {"dimensions": 8}, {"prompt_name": "query"}])
def test_tei_embed(server, pipe, path, options):
    made = server.ask(path, {"inputs": TEXTS, **options}).document
    names = {"normalize": "normalize_embeddings", "dimensions": "truncate_dim"}
    ours = {"normalize_embeddings": True, **{names.get(name, name): value for name, value in options.items()}}
    np.testing.assert_allclose(made, pipe("embedder", "text-embedding")(TEXTS, **ours), atol=CLOSE)
    alone = server.ask(path, {"inputs": TEXT, **options}).document
    np.testing.assert_allclose(alone, made[:1], atol=CLOSE)


@pytest.mark.parametrize("options", [{}, {"raw_scores": True}, {"return_text": True}])
def test_tei_rerank(server, pipe, options):
    made = server.ask("/models/ranker/rerank", {"query": OTHER, "texts": TEXTS, **options}).document
    ours = {"activation_fn": "Identity"} if options.get("raw_scores") else {}
    ranked = pipe("ranker", "text-ranking")(OTHER, documents=TEXTS, **ours)
    expected = [{"index": each["corpus_id"], "score": each["score"]} for each in ranked]
    if options.get("return_text"):
        expected = [{**each, "text": TEXTS[each["index"]]} for each in expected]
    assert_same(made, expected)


@pytest.mark.parametrize("inputs", [TEXT, [TEXT, OTHER], [[TEXT, OTHER], [OTHER]]], ids=["one", "several", "pairs"])
def test_tei_predict(server, pipe, inputs):
    made = server.ask("/models/classifier/predict", {"inputs": inputs}).document
    ours = pipe("classifier", "text-classification")
    pairs = [each if isinstance(each, str) else dict(zip(("text", "text_pair"), each, strict=False)) for each in inputs]
    assert_same(made, ours(TEXT, top_k=None) if inputs == TEXT else ours(pairs, top_k=None))


def test_rerank_as_jina_and_cohere_have_it(server, pipe):
    asked = {"model": "ranker", "query": OTHER, "documents": [TEXT, {"text": OTHER}, "a"], "top_n": 2}
    made = server.ask("/v1/rerank", {**asked, "return_documents": True}).document
    ranked = pipe("ranker", "text-ranking")(OTHER, documents=[TEXT, OTHER, "a"], top_k=2)
    assert_same(
        made["results"],
        [
            {
                "index": each["corpus_id"],
                "relevance_score": each["score"],
                "document": {"text": [TEXT, OTHER, "a"][each["corpus_id"]]},
            }
            for each in ranked
        ],
    )
    assert "document" not in server.ask("/v1/rerank", asked).document["results"][0]


# Many at a time.


def test_clients_at_a_time_get_what_each_gets_alone(server):
    """Requests of several tasks, with and without truncation, and texts of many lengths share the executor."""
    asked = [
        *(("/v1/embeddings", {"model": "embedder", "input": "fox " * n}) for n in (1, 7, 30, 100)),
        *(("/models/classifier", {"inputs": "fox " * n, "top_k": 3}) for n in (1, 9, 60)),
        ("/models/classifier", {"inputs": LONG * 4, "parameters": {"truncation": True, "max_length": 9}}),
        ("/models/writer", {"inputs": OTHER, "parameters": {"max_new_tokens": 12, "do_sample": False}}),
        ("/models/writer", {"inputs": OTHER, "parameters": {"max_new_tokens": 9, "do_sample": True, "seed": 5}}),
        ("/models/ranker/rerank", {"query": OTHER, "texts": TEXTS}),
        ("/models/tagger", {"inputs": [TEXT, OTHER]}),
    ]
    alone = [server.ask(*each).document for each in asked]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda each: server.ask(*each).document, asked * 4))
    for made, expected in zip(together, alone * 4, strict=True):
        assert_same(made, expected)


# Images, speech, and text from text.


def as_png(image):
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def as_wav(samples):
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((samples * 32767).clip(-32768, 32767).astype("<i2").tobytes())
    return out.getvalue()


@pytest.fixture(scope="module")
def slow_server(slow_bundles, tmp_path_factory):
    words = [f"{name}={folder}" for name, folder in slow_bundles.items()]
    with serving(tmp_path_factory.mktemp("slow"), *words) as made:
        yield made
        assert "Traceback" not in made.said()


@pytest.fixture
def slow_client(slow_server):
    return lambda name: InferenceClient(base_url=f"{slow_server.url}/models/{name}", timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"top_k": 2}], ids=["bytes", "base64"])
def test_image_classification(slow_client, slow_bundles, options):
    image = picture()
    expected = pipeline(model=slow_bundles["viewer"])(image, **options)
    assert_same(slow_client("viewer").image_classification(as_png(image), **options), expected)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"generate_kwargs": {"max_new_tokens": 5}}], ids=["bytes", "base64"])
def test_automatic_speech_recognition(slow_client, slow_bundles, options):
    heard = as_wav(sound(1))
    made = slow_client("listener").automatic_speech_recognition(heard, extra_body=options)
    assert made.text == pipeline(model=slow_bundles["listener"])(heard, **options)["text"]


@pytest.mark.slow
def test_summarization(slow_client, slow_bundles):
    made = slow_client("summarizer/pipeline/summarization").summarization(TEXT, generate_parameters=SEVEN)
    ours = pipeline("summarization", slow_bundles["summarizer"])(TEXT, **SEVEN)
    assert made.summary_text == ours[0]["summary_text"]


@pytest.mark.slow
def test_translation(slow_client, slow_bundles):
    made = slow_client("summarizer/pipeline/translation").translation(TEXT, generate_parameters=SEVEN)
    ours = pipeline("translation", slow_bundles["summarizer"])(TEXT, **SEVEN)
    assert made.translation_text == ours[0]["translation_text"]


@pytest.mark.slow
def test_image_to_text(slow_client, slow_bundles):
    image = picture()
    made = slow_client("captioner").image_to_text(as_png(image))
    assert made.generated_text == pipeline(model=slow_bundles["captioner"])(image)[0]["generated_text"]
