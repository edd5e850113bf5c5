"""Weights that a checkpoint lacks: only those that an output reads refuse it, and only that output is left out."""

import json

import pytest
from safetensors.torch import load_file, save_file

from tests.checkpoints import make_checkpoint
from vitrify.export.checkpoint.opened import open_checkpoint
from vitrify.export.families import export_family
from vitrify.export.verification.untrained import with_trained_outputs
from vitrify.runtime.errors import UsageError


def trained(checkpoint):
    return with_trained_outputs(checkpoint, export_family(checkpoint.head.family))


STATES, POOLED = "last_hidden_state", "pooler_output"


def lacking(folder, *parts):
    """Take the weights away whose names contain one of `parts`."""
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not any(part in name for part in parts)}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return open_checkpoint(folder)


def test_an_output_without_weights_is_left_out(tmp_path):
    whole = trained(open_checkpoint(make_checkpoint("bert", "base", tmp_path)))
    assert whole.outputs == (STATES, POOLED)
    checkpoint = lacking(tmp_path, "pooler.dense.weight")
    before = {name: value.clone() for name, value in checkpoint.model.state_dict().items()}
    assert trained(checkpoint).outputs == (STATES,)
    assert all(value.equal(before[name]) for name, value in checkpoint.model.state_dict().items())


@pytest.mark.parametrize("part", ["layer.0.attention.self.query.bias", "embeddings.LayerNorm.weight", "token_type"])
def test_a_weight_that_every_output_reads_refuses_the_checkpoint(tmp_path, part):
    make_checkpoint("bert", "base", tmp_path)
    with pytest.raises(UsageError, match=f"lacks weights for BertModel .*{part}.*they would be random"):
        trained(lacking(tmp_path, part))


def test_counters_are_no_weights_and_running_statistics_are(tmp_path):
    make_checkpoint("resnet", "image-classification", tmp_path)
    checkpoint = lacking(tmp_path, "num_batches_tracked")
    assert trained(checkpoint).outputs == ("logits",)
    with pytest.raises(UsageError, match="lacks weights for ResNetForImageClassification"):
        trained(lacking(tmp_path, "running_mean"))


@pytest.mark.parametrize(("model_type", "head"), [("llama", "causal-lm"), ("t5", "seq2seq-lm")])
def test_the_other_families_are_asked_too(tmp_path, model_type, head):
    make_checkpoint(model_type, head, tmp_path)
    with pytest.raises(UsageError, match="they would be random"):
        trained(lacking(tmp_path, "norm.weight"))


def test_a_random_head_is_refused(tmp_path):
    make_checkpoint("bert", "base", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["BertForTokenClassification"]}))
    with pytest.raises(UsageError, match="lacks weights for BertForTokenClassification"):
        trained(open_checkpoint(tmp_path))
