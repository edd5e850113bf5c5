"""What transformers runs exports: classifiers without a pad token, few positions, labels of one table only."""

import json

import pytest
import torch
import transformers

from tests.checkpoints import make_checkpoint
from vitrify import export_bundle, pipeline
from vitrify.runtime.bundle.manifest import Bundle
from vitrify.runtime.verification.verify import verify_bundle

TASK = "text-classification"
TEXTS = ["the old mill", "a small boat waits near the bridge", "a"]


def edited(folder, name, **changes):
    path = folder / name
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value != "absent"}))


def assert_same_scores(checkpoint, bundle, *, batch_size):
    torch.set_num_threads(1)
    expected = transformers.pipeline(TASK, model=str(checkpoint), dtype="float32")(TEXTS, top_k=None)
    found = pipeline(TASK, bundle)(TEXTS, top_k=None, batch_size=batch_size)
    for one, other in zip(found, expected, strict=True):
        assert [row["label"] for row in one] == [row["label"] for row in other]
        assert [row["score"] for row in one] == pytest.approx([row["score"] for row in other], abs=1e-5)


def test_a_classifier_without_a_pad_token_runs_text_by_text(tmp_path):
    folder = make_checkpoint("gpt2", "sequence-classification", tmp_path / "checkpoint")
    edited(folder, "config.json", pad_token_id=None)
    edited(folder, "tokenizer_config.json", pad_token="absent")
    export_bundle(folder, tmp_path / "bundle")
    assert Bundle.read(tmp_path / "bundle").graphs["model"].inputs[0].axes == (1, "sequence")
    assert_same_scores(folder, tmp_path / "bundle", batch_size=3)
    assert verify_bundle(tmp_path / "bundle").passed


def test_few_positions_and_labels_of_one_table_only(tmp_path):
    folder = make_checkpoint("bert", "sequence-classification", tmp_path / "checkpoint")
    weights = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    weights.bert.embeddings.position_embeddings = torch.nn.Embedding(12, weights.config.hidden_size)
    weights.config.max_position_embeddings = 12
    weights.save_pretrained(folder)
    edited(folder, "config.json", label2id="absent", id2label={"0": "calm", "1": "wild", "2": "odd"})
    edited(folder, "tokenizer_config.json", model_max_length=-1)
    export_bundle(folder, tmp_path / "bundle")
    assert Bundle.read(tmp_path / "bundle").axes["sequence"].maximum == 12
    assert {row["label"] for row in pipeline(TASK, tmp_path / "bundle")("the mill", top_k=None)} <= {
        "calm",
        "wild",
        "odd",
    }
