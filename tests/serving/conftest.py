"""One server for all tests: a child process with a tiny bundle of each task, and the pipelines to compare with."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.checkpoints import make_checkpoint
from tests.once import bundle_once, made_once
from tests.sentence_checkpoints import make_body, make_ranker, make_sentences, pooled
from vitrify import export_bundle, load_bundle, pipeline

BUNDLES = {
    "classifier": ("bert", "sequence-classification"),
    "tagger": ("bert", "token-classification"),
    "reader": ("bert", "question-answering"),
    "filler": ("bert", "masked-lm"),
    "extractor": ("bert", "base"),
    "writer": ("llama", "causal-lm"),
}
"""Models of the server by name, and what they are bundles of; an embedder and a ranker stand beside them."""

SLOW_BUNDLES = {
    "viewer": ("vit", "image-classification"),
    "listener": ("whisper", "speech-seq2seq"),
    "summarizer": ("t5", "seq2seq-lm"),
    "captioner": ("vit-gpt2", "image-to-text"),
}


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def document(self):
        return json.loads(self.body)


@dataclass
class Server:
    """A server in a child process: where it listens, and the file of what it wrote to stderr."""

    process: subprocess.Popen
    port: int
    errors: Path

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path, content=None, *, method="POST", **headers):
        """Send JSON, or bytes as they are, and return the answer."""
        body = content if isinstance(content, bytes | None) else json.dumps(content).encode()
        kind = {} if body is None else {"content-type": "application/json"}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body, {**kind, **{k.replace("_", "-"): v for k, v in headers.items()}})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())

    def said(self):
        return self.errors.read_text()

    def end(self, number=signal.SIGTERM):
        """End it by a signal and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextlib.contextmanager
def serving(folder, *words, env=None):
    """Start `vitrify serve` and wait until it listens; it is gone afterwards."""
    errors = folder / "stderr.txt"
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "vitrify", "serve", *map(str, words), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **(env or {})},
        )
    try:
        line = next((line for line in process.stdout if line.startswith("listening on ")), None)
        assert line is not None, errors.read_text()
        yield Server(process, int(line.rpartition(":")[2]), errors)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """Return the folders of the bundles by the names under which they are served."""
    found = {name: bundle_once(tmp_path_factory, *pair) for name, pair in BUNDLES.items()}
    found["embedder"] = made_once(tmp_path_factory, "embedder", _embedder) / "bundle"
    found["ranker"] = made_once(tmp_path_factory, "ranker", _ranker) / "bundle"
    return found


def _embedder(folder):
    made = make_sentences(make_body(folder / "body"), folder / "checkpoint", [pooled("mean")])
    export_bundle(made, folder / "bundle", profiles=["cpu-fp32", "cpu-int8"])


def _ranker(folder):
    export_bundle(make_ranker(folder / "checkpoint"), folder / "bundle")


@pytest.fixture(scope="session")
def slow_bundles(tmp_path_factory):
    def of(pair):
        def fill(folder):
            export_bundle(make_checkpoint(*pair, folder / "checkpoint"), folder / "bundle")

        return made_once(tmp_path_factory, "-".join(pair), fill) / "bundle"

    return {name: of(pair) for name, pair in SLOW_BUNDLES.items()}


@pytest.fixture(scope="session")
def server(bundles, tmp_path_factory):
    words = [f"{name}={folder}" for name, folder in bundles.items()]
    with serving(tmp_path_factory.mktemp("server"), *words, "--timeout", "30") as made:
        yield made
        assert "Traceback" not in made.said()


@pytest.fixture(scope="session")
def pipe(bundles):
    """Return a function from a model's name and a task to the pipeline that the server's answers are compared with."""
    loaded = {}

    def get(name, task):
        if name not in loaded:
            loaded[name] = load_bundle(bundles[name])
        return pipeline(task, loaded[name])

    return get
