"""What vitrify exports runs unchanged in optimum-onnx with transformers 4.57, with the same results."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.interop.exported import PROMPT, STORY, TEXTS, TOLERANCE, picture
from tests.parity.compare import assert_same
from vitrify import load_bundle, pipeline

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("run_optimum.py")


@pytest.fixture(scope="module")
def ask(python):
    def run(bundle, task, inputs, **options):
        request = {"bundle": str(bundle), "task": task, "inputs": inputs, "options": options}
        done = subprocess.run(
            [python, SCRIPT], input=json.dumps(request), capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    return run


def test_a_text_classifier(ask, bundles):
    bundle = bundles("bert")
    theirs = ask(bundle, "text-classification", TEXTS, top_k=None)
    ours = pipeline("text-classification", bundle)(list(TEXTS), top_k=None)
    assert_same(ours, theirs, tolerance=TOLERANCE)


def test_an_image_classifier(ask, bundles):
    bundle = bundles("vit")
    image = picture()
    image.save(bundles.folder / "picture.png")
    theirs = ask(bundle, "image-classification", str(bundles.folder / "picture.png"), top_k=5)
    assert_same(pipeline("image-classification", bundle)(image, top_k=5), theirs, tolerance=TOLERANCE)


# Not the tiny llama: whatever its config says, optimum takes a head to be as wide as hidden size over heads.
@pytest.mark.parametrize(("name", "prompts"), [("mistral", (PROMPT, "a")), ("smollm2", (STORY, "The sea is"))])
def test_a_decoder_writes_the_same_tokens(name, prompts, ask, bundles):
    bundle = bundles(name)
    options = {"max_new_tokens": 24, "do_sample": False}
    loaded = load_bundle(bundle)
    rows = loaded.tokenizer(list(prompts), padding=True)
    ours = loaded.generate(rows["input_ids"], attention_mask=rows["attention_mask"], **options).tolist()
    asked = {"prompts": prompts, "pad_token": loaded.tokenizer.pad_token}
    assert ask(bundle, "generate", asked, **options) == ours


def test_a_real_encoder_reads_the_same(ask, bundles):
    bundle = bundles("minilm")
    theirs = ask(bundle, "feature-extraction", TEXTS[0])
    ours = pipeline("feature-extraction", bundle)(TEXTS[0])
    np.testing.assert_allclose(theirs, ours, atol=TOLERANCE, rtol=0)
