"""What optimum-onnx exports runs in vitrify as it is, and answers as PyTorch does."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tests.checkpoints import make_checkpoint
from vitrify import load_bundle, pipeline

pytestmark = pytest.mark.slow
SECONDS = 300
TEXTS = ["the cat ran to the sea", "a dog", "birds and a house"]
TOLERANCE = 1e-4
# Exports [checkpoint, folder, options]... in optimum's own environment.
EXPORTER = """
import json, sys
from optimum.exporters.onnx import main_export
for checkpoint, folder, options in json.load(sys.stdin):
    main_export(checkpoint, folder, library_name="transformers", **options)
"""
SEARCHES = [{"max_new_tokens": 8, "do_sample": False, "num_beams": beams} for beams in (1, 3)]
CHECKPOINTS = {
    "bert": ("sequence-classification", "text-classification"),
    "gpt2": ("causal-lm", "text-generation-with-past"),
    "llama": ("causal-lm", "text-generation-with-past"),
    "t5": ("seq2seq-lm", "text2text-generation-with-past"),
    "mbart": ("seq2seq-lm", "text2text-generation-with-past"),  # the tiny bart has halves of different heads
}


@pytest.fixture(scope="module")
def place(python, tmp_path_factory):
    """A folder with the checkpoints, and with optimum's exports of each: NAME-merged, NAME-apart."""
    folder, orders = tmp_path_factory.mktemp("optimum"), []
    for name, (head, task) in CHECKPOINTS.items():
        checkpoint = make_checkpoint(name, head, folder / name)
        for kind, more in (("merged", {}), ("apart", {"no_post_process": True})):
            orders.append([str(checkpoint), str(folder / f"{name}-{kind}"), {"task": task, **more}])
    done = subprocess.run(
        [python, "-c", EXPORTER],
        input=json.dumps(orders),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for checkpoint, made, _ in orders:
        if not Path(made, "tokenizer.json").is_file():  # one of transformers 5 that optimum's cannot read
            transformers.AutoTokenizer.from_pretrained(checkpoint).save_pretrained(made)
    return folder


def graphs(folder: Path):
    return {path.name for path in folder.glob("*.onnx")}


def ragged(vocabulary, *, left):
    """Return three rows of tokens with their mask, int64 [3, 7]."""
    ids = np.random.default_rng(0).integers(5, vocabulary - 20, (3, 7))
    mask = (np.arange(7) < np.array([[7], [2], [4]])).astype(np.int64)
    mask = mask[:, ::-1].copy() if left else mask
    return ids * mask, mask


def test_a_classifier(place):
    found = pipeline("text-classification", place / "bert-merged")(TEXTS, top_k=None, batch_size=2)
    right = transformers.pipeline("text-classification", str(place / "bert"), top_k=None)(TEXTS)
    for ours, theirs in zip(found, right, strict=True):
        assert [row["label"] for row in ours] == [row["label"] for row in theirs]
        np.testing.assert_allclose([row["score"] for row in ours], [row["score"] for row in theirs], atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["merged", "apart"])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_decoder(place, name, kind):
    model = transformers.AutoModelForCausalLM.from_pretrained(place / name, dtype="float32").eval()
    assert graphs(place / f"{name}-{kind}") == {"model.onnx"}
    bundle = load_bundle(place / f"{name}-{kind}")
    ids, mask = ragged(model.config.vocab_size, left=True)
    rows = [row[keep > 0] for row, keep in zip(ids, mask, strict=True)]
    for given in SEARCHES:
        right = [model.generate(torch.tensor(row[None]), **given)[0].tolist() for row in rows]
        assert [row.tolist() for row in bundle.generate_rows(rows, given).sequences] == right
    written = pipeline("text-generation", bundle)(TEXTS, max_new_tokens=6, do_sample=False, batch_size=3)
    theirs = transformers.pipeline("text-generation", str(place / name), dtype="float32")
    for text, ours in zip(TEXTS, written, strict=True):
        assert ours == theirs(text, max_new_tokens=6, do_sample=False)


@pytest.mark.parametrize("kind", ["merged", "apart"])
@pytest.mark.parametrize("name", ["t5", "mbart"])
def test_an_encoder_decoder(place, name, kind):
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(place / name, dtype="float32").eval()
    assert ("decoder_model_merged.onnx" in graphs(place / f"{name}-{kind}")) == (kind == "merged")
    bundle = load_bundle(place / f"{name}-{kind}")
    ids, mask = ragged(model.config.vocab_size, left=False)
    for given in SEARCHES:
        right = model.generate(torch.tensor(ids), attention_mask=torch.tensor(mask), **given).tolist()
        assert bundle.generate(ids, attention_mask=mask, **given).tolist() == right
    answers = pipeline("text2text-generation", bundle)(TEXTS, max_new_tokens=6)
    assert all(answer["generated_text"] for answer in answers)
