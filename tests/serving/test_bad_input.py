"""What a client or a user may do wrong: the protocol's own error, no traceback, and a server that goes on."""

import base64
import io
import json
import socket

import pytest
from PIL import Image

from tests.serving.conftest import serving
from vitrify.runtime.errors import UsageError
from vitrify.serving.arguments import check_arguments
from vitrify.serving.hugging_face import ROWS

TEXT = "the quick brown fox"
PLAIN, TEI, OPENAI = "/models/classifier", "/models/embedder/embed", "/v1/embeddings"
NO_JSON = {
    "nothing": b"",
    "half": b'{"inputs": "a',
    "not utf-8": b'{"inputs": "\xff"}',
    "NaN": b'{"inputs": NaN, "model": NaN}',
    "infinity": b'{"inputs": -Infinity, "model": 1e999}',
    "lists in lists": b"[" * 100_000,
    "objects in objects": b'{"inputs":' * 100_000,
    "a list": b"[]",
    "null": b"null",
    "a text": b'"a"',
    "a number of 5,000 digits": b'{"inputs": ' + b"9" * 5000 + b"}",
    "half a character": b'{"inputs": "\\ud800", "model": "embedder", "input": "\\ud800"}',
    "a name that is half a character": b'{"inputs": "a", "\\ud800": 1}',
    "raw bytes": bytes(range(256)),
}


def assert_told(answer, path, status=400, *said):
    """The answer is an error of this status in the shape of the address's protocol, and says what is wrong."""
    assert answer.status == status, answer.body[:300]
    document = answer.document
    if path.startswith("/v1"):
        assert set(document) == {"error"}
        assert set(document["error"]) == {"message", "type", "param", "code"}
        message = document["error"]["message"]
    else:
        tei = path.endswith(("/embed", "/rerank", "/predict"))
        assert set(document) == ({"error", "error_type"} if tei else {"error"})
        message = document["error"]
    assert isinstance(message, str)
    assert 0 < len(message) < 1000
    assert "Traceback" not in message
    assert "x-request-id" in answer.headers
    for word in said:
        assert word in message


@pytest.mark.parametrize("path", [PLAIN, TEI, OPENAI, "/v1/rerank", "/rerank", "/predict"])
@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_a_body_that_is_not_the_json_of_a_request(server, path, body):
    assert_told(server.ask(path, body), path)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "inputs"),
        ({"inputs": None}, "got NoneType"),
        ({"inputs": 3}, "got int"),
        ({"inputs": {"a": 1}}, "dict"),
        ({"inputs": [3]}, "got int"),
        ({"inputs": [["a"]]}, "got list"),
        ({"inputs": TEXT, "parameters": []}, "parameters must be an object"),
        ({"inputs": TEXT, "parameters": {"nope": 1}}, "unknown argument 'nope'"),
        ({"inputs": TEXT, "nope": 1}, "unknown argument 'nope'"),
        ({"inputs": TEXT, "stream": True}, "unknown argument 'stream'"),
        ({"inputs": TEXT, "top_k": 1, "parameters": {"top_k": 2}}, "send it once"),
        ({"inputs": TEXT, "top_k": "1"}, "top_k"),
        ({"inputs": TEXT, "top_k": True}, "top_k"),
        ({"inputs": TEXT, "top_k": 10**30}, "too large"),
        ({"inputs": TEXT, "max_length": 10**9, "padding": "max_length"}, "max_length must be at most"),
        ({"inputs": TEXT, "pad_to_multiple_of": 10**9, "padding": True}, "pad_to_multiple_of must be at most"),
        ({"inputs": "a" * 1_000_001}, "1000001 characters"),
        ({"inputs": [TEXT] * 2049}, "2049 inputs"),
        ({"inputs": "fox " * 1000}, "at most 128"),
    ],
)
def test_requests_of_hugging_face(server, asked, said):
    assert_told(server.ask(PLAIN, asked), PLAIN, 400, said)


OWN = ("self", "inputs", "batch_size", "num_workers", "assistant_model", "streamer", "stopping_criteria")
OWN += ("logits_processor", "prefix_allowed_tokens_fn", "chat_template", "image_processor_kwargs")


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("model", ["writer", "classifier"])
@pytest.mark.parametrize("inputs", [TEXT, [TEXT, TEXT]], ids=["one", "two"])
def test_what_only_the_server_chooses(server, name, model, inputs):
    """Some of them name a folder of its machine, or code."""
    path = f"/models/{model}"
    for parameters in ({name: "x"}, {"tokenizer_encode_kwargs": {name: "x"}}):
        assert_told(
            server.ask(path, {"inputs": inputs, "parameters": parameters}), path, 400, f"'{name}' is not accepted"
        )


WEIRD = ("x", -1, 0, 1.5, True, {"a": 1}, [], [1], [[1]], ["a"], [None], {}, 10**12, 1e300, "\ud800", "")


@pytest.mark.parametrize("name", ROWS)
def test_every_argument_of_every_task_has_a_type(name):
    """Half of what a client may send for an argument is rejected before a pipeline sees it."""
    from vitrify.runtime.pipelines.classes import pipeline_class
    from vitrify.runtime.tasks import find_task

    parameters = getattr(pipeline_class(find_task(name)), "parameters", None)
    if parameters is None:
        pytest.skip("chosen by the bundle")
    for argument, kind in parameters.__annotations__.items():
        if kind not in {"Any", "Mapping[str, Any]"} and "Any" not in str(kind):
            rejected = [value for value in WEIRD if is_rejected(parameters, {argument: value})]
            assert len(rejected) >= 6, argument


def is_rejected(parameters, given):
    try:
        check_arguments(parameters, given)
    except UsageError:
        return True
    return False


@pytest.mark.parametrize(
    "asked",
    [
        {"num_beams": 10**9},
        {"num_return_sequences": 257, "do_sample": True},
        {"max_new_tokens": 10**9},
        {"max_cache_len": 10**9},
        {"encoder_no_repeat_ngram_size": 10**12},
        {"generation_config": {"num_beams": 10**9}},
        {"seed": -1},
        {"stop": [1]},
        {"regex": 3},
        {"negative_prompt_ids": "x"},
        {"negative_prompt_ids": [[None]]},
        {"details": True},
        {"return_dict_in_generate": True, "output_scores": True, "top_k": 1, "do_sample": True},
        {"json_schema": {"$ref": "#"}},
    ],
    ids=json.dumps,
)
def test_arguments_of_generation(server, asked):
    path = "/models/writer"
    assert_told(server.ask(path, {"inputs": TEXT, "parameters": {"max_new_tokens": 3, **asked}}), path)


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("classifier", {"inputs": TEXT, "candidate_labels": []}),
        ("classifier", {"inputs": TEXT, "candidate_labels": ["a"] * 2049}),
        ("classifier", {"inputs": [TEXT] * 100, "candidate_labels": ["a"] * 30}),
        ("classifier", {"inputs": TEXT, "candidate_labels": "a," * 3000}),
        ("classifier", {"inputs": TEXT, "candidate_labels": ["a"], "hypothesis_template": "{:999999999}"}),
        ("classifier", {"inputs": TEXT, "candidate_labels": ["a"], "hypothesis_template": "{0.__class__}"}),
        ("classifier", {"inputs": TEXT, "candidate_labels": ["a"], "hypothesis_template": "{"}),
        ("embedder", {"inputs": TEXT, "prompt": 3}),
        ("embedder", {"inputs": TEXT, "prompt_name": "nope"}),
        ("embedder", {"inputs": TEXT, "dimensions": 0}),
        ("embedder", {"inputs": TEXT, "truncate": False}),
        ("embedder", {"inputs": TEXT, "truncation_direction": "left"}),
        ("embedder", {"inputs": TEXT, "precision": "int8", "ranges": [[1, 2]]}),
        ("embedder", {"inputs": TEXT, "precision": "int8", "ranges": [[1], ["a"]]}),
        ("embedder", {"inputs": TEXT, "precision": "int8", "ranges": [[1], [2, 3]]}),
        ("embedder", {"inputs": TEXT, "precision": "int8", "ranges": [[1, 1], [2, 3]]}),
        ("embedder", {"inputs": {"source_sentence": TEXT}}),
        ("embedder", {"inputs": {"source_sentence": TEXT, "sentences": [3]}}),
        ("embedder", {"inputs": {"source_sentence": TEXT, "sentences": "x"}}),
        ("reader", {"inputs": TEXT}),
        ("reader", {"inputs": {"question": TEXT}}),
        ("filler", {"inputs": TEXT}),
        ("extractor", {"inputs": TEXT, "tokenize_kwargs": 3}),
        ("extractor", {"inputs": TEXT, "tokenize_kwargs": {"is_split_into_words": "x"}}),
    ],
)
def test_arguments_of_other_tasks(server, model, asked):
    assert_told(server.ask(f"/models/{model}", asked), f"/models/{model}")


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"model": "nope"}, 404),
        ({"model": "\ud800"}, 404),
        ({"model": "x" * 10_000}, 404),
        ({"model": 3}, 400),
        ({"model": None}, 400),
        ({"model": "classifier"}, 400),
        ({"input": []}, 400),
        ({"input": ""}, 400),
        ({"input": ["a", ""]}, 400),
        ({"input": [[]]}, 400),
        ({"input": [-1]}, 400),
        ({"input": [10**6]}, 400),
        ({"input": [[10**30]]}, 400),
        ({"input": ["a", 1]}, 400),
        ({"input": [True]}, 400),
        ({"input": [1.0]}, 400),
        ({"input": {"a": 1}}, 400),
        ({"input": None}, 400),
        ({"input": ["a"] * 2049}, 400),
        ({"input": "a" * 1_000_001}, 400),
        ({"dimensions": 0}, 400),
        ({"dimensions": 33}, 400),
        ({"dimensions": 10**30}, 400),
        ({"dimensions": "8"}, 400),
        ({"dimensions": True}, 400),
        ({"encoding_format": "x"}, 400),
        ({"nope": 1}, 400),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_requests_of_openai(server, asked, status):
    assert_told(server.ask(OPENAI, {"model": "embedder", "input": TEXT, **asked}), OPENAI, status)


@pytest.mark.parametrize(
    ("path", "asked", "status"),
    [
        ("/v1/rerank", {"model": "ranker", "query": TEXT, "documents": [{"title": TEXT}]}, 400),
        ("/v1/rerank", {"model": "ranker", "query": TEXT, "documents": [TEXT], "top_n": 0}, 400),
        ("/v1/rerank", {"model": "ranker", "query": TEXT, "documents": [TEXT] * 2049}, 400),
        ("/v1/rerank", {"model": "embedder", "query": TEXT, "documents": [TEXT]}, 400),
        ("/v1/rerank", {"model": "nope", "query": TEXT, "documents": [TEXT]}, 404),
        ("/models/ranker/rerank", {"query": TEXT, "texts": TEXT}, 400),
        ("/models/ranker/rerank", {"query": TEXT, "texts": [TEXT] * 2049}, 400),
        ("/models/embedder/rerank", {"query": TEXT, "texts": [TEXT]}, 400),
        ("/models/nope/rerank", {"query": TEXT, "texts": [TEXT]}, 404),
        ("/embed", {"inputs": 3}, 400),
        ("/embed", {"inputs": TEXT, "truncate": False}, 400),
        ("/embed", {"inputs": TEXT, "truncation_direction": "Left"}, 400),
        ("/embed", {"inputs": TEXT, "dimensions": 0}, 400),
        ("/embed", {"inputs": TEXT, "prompt_name": "nope"}, 400),
        ("/models/nope/embed", {"inputs": TEXT}, 404),
        ("/predict", {"inputs": [[]]}, 400),
        ("/predict", {"inputs": [["a", "b", "c"]]}, 400),
    ],
)
def test_requests_of_rerankers_and_tei(server, path, asked, status):
    assert_told(server.ask(path, asked), path, status)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("POST", "/", 404),
        ("GET", "/", 405),
        ("POST", "/models/nope", 404),
        ("POST", "/models/..%2f..%2fetc%2fpasswd", 404),
        ("POST", "/models/%00", 404),
        ("POST", "/models/%ff", 404),
        ("GET", "/models/classifier", 405),
        ("DELETE", "/models/classifier", 405),
        ("OPTIONS", "/models/classifier", 405),
        ("POST", "/models/classifier/pipeline/nope", 400),
        ("POST", "/models/classifier/pipeline/fill-mask", 400),
        ("GET", "/v1/models/nope", 404),
        ("GET", "/v1/embeddings", 405),
        ("POST", "/v1/models", 405),
        ("POST", "/v1/chat/completions", 404),
        ("POST", "/models/classifier/v1/chat/completions", 404),
    ],
)
def test_addresses_and_methods(server, method, path, status):
    content = {"inputs": TEXT} if method == "POST" else None
    shaped_as = "/v1" if "/v1/" in path else path
    assert_told(server.ask(path, content, method=method), shaped_as, status)


def test_without_a_content_type_json_is_read_and_other_bytes_are_not_a_text(server):
    """So curl works without a header; what InferenceClient sends for images and audio has none either."""
    body = json.dumps({"inputs": TEXT}).encode()
    form = "application/x-www-form-urlencoded"
    assert server.ask(PLAIN, body, content_type=form).status == 200
    assert_told(server.ask(PLAIN, b"\x89PNG", content_type="image/png"), PLAIN, 400, "this model reads text")


# Images and audio: nothing but bytes.

BINARY = [name for name, row in ROWS.items() if row.inputs.__name__ == "_binary"]


@pytest.mark.parametrize("task", BINARY)
@pytest.mark.parametrize(
    "given",
    [
        *("http://127.0.0.1:1/a.png", "https://example.com/a.wav", "file:///etc/passwd", "/etc/passwd", "../a.png"),
        *(
            "data:image/png,abc",
            "data:image/png;base64,@@",
            "not base64",
            "é",
            None,
            3,
            {"raw": [1], "sampling_rate": 1},
        ),
        *({"path": "/etc/passwd"}, ["/etc/passwd"]),
    ],
)
def test_images_and_audio_are_bytes_and_nothing_is_fetched(task, given):
    with pytest.raises(UsageError, match="base64"):
        ROWS[task].inputs(given)


def test_tasks_that_read_files_read_bytes_only():
    assert set(BINARY) == {
        *("image-classification", "image-feature-extraction", "image-to-text", "automatic-speech-recognition")
    }


@pytest.mark.parametrize("given", [b"\x89PNG", base64.b64encode(b"\x89PNG").decode(), "data:image/png;base64,iVBORw=="])
@pytest.mark.parametrize("task", BINARY)
def test_bytes_and_base64_come_through(task, given):
    assert ROWS[task].inputs(given) == b"\x89PNG"


def large_png(side):
    """A picture of few bytes and many pixels."""
    out = io.BytesIO()
    Image.new("1", (side, side)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.slow
def test_images_that_are_none(slow_bundles, tmp_path):
    with serving(tmp_path, f"viewer={slow_bundles['viewer']}") as one:
        for body in (b"", b"no image", b"\x89PNG\r\n\x1a\n", large_png(30_000), b"GIF89a"):
            assert_told(one.ask("/models/viewer", body, content_type="image/png"), "/models/viewer")
            asked = {"inputs": base64.b64encode(body).decode()}
            assert_told(one.ask("/models/viewer", asked), "/models/viewer")
        for address in ("http://127.0.0.1:1/a.png", "/etc/passwd"):
            assert_told(one.ask("/models/viewer", {"inputs": address}), "/models/viewer", 400, "base64")
        assert "Traceback" not in one.said()


# Bodies that are too large, too slow, or never whole.


def test_a_body_that_is_too_large_is_not_waited_for(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-length: 104857600\r\n\r\n{")
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"error"' in answer


def test_compression_is_not_accepted(server):
    assert_told(server.ask(PLAIN, b"\x1f\x8b", content_encoding="gzip"), PLAIN, 415, "gzip")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET",
        b"POST /models/classifier HTTP/1.1\r\n",
        b"POST /models/classifier HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{",
        b"POST /models/classifier HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
        b'POST /models/classifier HTTP/1.1\r\nhost: a\r\ncontent-length: 15\r\n\r\n{"inputs": "a"}',
    ],
    ids=["nothing", "a word", "no header", "half a body", "half a chunk", "a request that nobody waits for"],
)
def test_a_client_that_leaves_harms_nobody(server, sent):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(sent)
    assert server.ask(PLAIN, {"inputs": TEXT}).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"POST /models/classifier HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
        b"POST /models/classifier HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
        b"GET /health HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 100_000,
    ],
    ids=["no words", "length", "chunk", "headers"],
)
def test_what_is_not_http_is_answered_and_closed(server, sent):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(sent)
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 40")
    assert server.ask(PLAIN, {"inputs": TEXT}).status == 200


def test_a_request_that_takes_too_long_is_told_so(server):
    answer = server.ask(PLAIN, {"inputs": [TEXT] * 2000}, x_request_timeout="0.001")
    assert_told(answer, PLAIN, 504, "longer")
