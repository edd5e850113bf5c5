"""A decoder whose rotation changes beyond a length answers as transformers does, whatever crosses it."""

import json

import numpy as np
import pytest
import torch
import transformers

from tests.checkpoints import POSITIONS, make_checkpoint
from vitrify import export_bundle, load_bundle
from vitrify.runtime.graphs.signature import SWITCH

AT, NEW = 90, 16


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Return a tiny Phi-3 with two sets of factors, and its bundle."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("switch")
    path = make_checkpoint("phi3", "causal-lm", folder / "checkpoint") / "config.json"
    config = json.loads(path.read_text())
    half = config["hidden_size"] // config["num_attention_heads"] // 2
    config["original_max_position_embeddings"] = AT
    config["rope_parameters"] = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "original_max_position_embeddings": AT,
        "short_factor": [1.0 + 0.1 * i for i in range(half)],
        "long_factor": [3.0 + i for i in range(half)],
    }
    path.write_text(json.dumps(config))
    export_bundle(folder / "checkpoint", folder / "bundle")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "checkpoint", dtype="float32")
    return model, load_bundle(folder / "bundle")


def test_the_bundle_goes_on_to_the_model_s_limit(both):
    _, bundle = both
    assert bundle.bundle.axes["total"].maximum == POSITIONS
    assert bundle.bundle.axes[SWITCH].maximum == AT


@pytest.mark.parametrize(
    "options", [{}, {"num_beams": 3}, {"prompt_lookup_num_tokens": 4}], ids=["greedy", "beams", "guesses"]
)
@pytest.mark.parametrize("prompt", [AT - NEW // 2, AT - 1, AT, AT + 8])
@pytest.mark.parametrize("before", [0, AT - 30, AT + 20])
def test_answers_across_the_switch(both, prompt, before, options):
    """`before` is a first turn, whose cache the second one goes on with."""
    model, bundle = both
    ids = np.random.default_rng([prompt, before]).integers(20, model.config.vocab_size, (1, max(prompt, before)))
    if before:
        bundle.generate(ids[:, :before], max_new_tokens=2, do_sample=False, eos_token_id=[])
    given = torch.from_numpy(ids[:, :prompt])
    settings = {"max_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}
    exact = {name: value for name, value in options.items() if name == "num_beams"}
    expected = model.generate(given, attention_mask=torch.ones_like(given), eos_token_id=None, **settings, **exact)
    got = bundle.generate(ids[:, :prompt], eos_token_id=[], **settings, **options)
    assert got.tolist() == expected.tolist()
