"""What vitrify exports runs unchanged in transformers.js on Node, from a server, with the same results."""

import json
import os
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import filelock
import numpy as np
import pytest

from benchmarks.peers.environments import ENVIRONMENTS
from tests.interop.exported import PROMPT, STORY, TEXTS, TOLERANCE, picture
from vitrify import load_bundle, pipeline

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="node or npm is not installed"),
]
HERE = Path(__file__).parent
INSTALL = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):  # noqa: A002 - http.server's word
        pass


@pytest.fixture(scope="module")
def client():
    """A folder with transformers.js in the versions of package.json, and the script."""
    folder = ENVIRONMENTS / "transformers.js"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = (HERE / "package.json").read_text()
    stamp = folder / ".made-from"
    with filelock.FileLock(folder / ".lock"):
        if not stamp.is_file() or stamp.read_text() != wanted:
            shutil.rmtree(folder / "node_modules", ignore_errors=True)
            (folder / "package.json").write_text(wanted)
            # Its CUDA libraries would be downloaded from elsewhere.
            subprocess.run(INSTALL, cwd=folder, env=os.environ | {"ONNXRUNTIME_NODE_INSTALL_CUDA": "skip"}, check=True)
            stamp.write_text(wanted)
        shutil.copyfile(HERE / "run.mjs", folder / "run.mjs")
    return folder


@pytest.fixture(scope="module")
def ask(client, bundles, tmp_path_factory):
    """A function that has transformers.js run a bundle, which it fetches file by file."""
    cache = tmp_path_factory.mktemp("cache")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=bundles.folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"http://127.0.0.1:{server.server_port}/"

    def run(bundle, task, inputs, **options):
        named = {"host": host, "cache": str(cache), "model": bundle.name, "task": task}
        request = {**named, "inputs": inputs, "options": options}
        if task == "image-classification":
            request["inputs"] = host + inputs
        done = subprocess.run(
            ["node", "run.mjs"],
            cwd=client,
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    yield run
    server.shutdown()
    server.server_close()
    shutil.rmtree(cache)


def test_a_text_classifier(ask, bundles):
    bundle = bundles("bert")
    theirs = ask(bundle, "text-classification", TEXTS, top_k=None)
    ours = pipeline("text-classification", bundle)(list(TEXTS), top_k=None)
    assert_same_scores(theirs, ours)


def test_an_image_classifier(ask, bundles):
    bundle = bundles("vit")
    image = picture(size=(32, 32))  # they resize otherwise than PIL
    image.save(bundles.folder / "picture.png")
    theirs = ask(bundle, "image-classification", "picture.png", top_k=5)
    assert_same_scores([theirs], [pipeline("image-classification", bundle)(image, top_k=5)])


@pytest.mark.parametrize(("name", "prompt"), [("llama", PROMPT), ("smollm2", STORY)])
def test_a_decoder_writes_the_same_tokens(name, prompt, ask, bundles):
    bundle = bundles(name)
    options = {"max_new_tokens": 24, "do_sample": False}
    loaded = load_bundle(bundle)
    ours = loaded.generate(loaded.tokenizer(prompt)["input_ids"], **options).tolist()
    assert len(ours[0]) > len(loaded.tokenizer(prompt)["input_ids"][0]) + 8
    assert ask(bundle, "generate", prompt, **options) == ours


def test_a_real_encoder_reads_the_same(ask, bundles):
    bundle = bundles("minilm")
    theirs = np.array(ask(bundle, "feature-extraction", TEXTS[0]))
    ours = np.array(pipeline("feature-extraction", bundle)(TEXTS[0]))
    np.testing.assert_allclose(theirs, ours, atol=TOLERANCE, rtol=0)


def assert_same_scores(theirs, ours):
    for their, our in zip(theirs, ours, strict=True):
        their, our = ({row["label"]: row["score"] for row in rows} for rows in (their, our))  # noqa: PLW2901
        assert set(their) == set(our)
        np.testing.assert_allclose([their[label] for label in our], list(our.values()), atol=TOLERANCE, rtol=0)
