"""A reference does not depend on what was asked before: models that remember are as they were loaded at every call."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers

from vitrify.export.verification.forgetful import Forgetful
from vitrify.export.verification.gate import examine
from vitrify.export.verification.oracle import ForwardOracle
from vitrify.export.verification.plan import Plan
from vitrify.runtime.verification.parity import Case


class Config:
    def __init__(self):
        self.kind, self.sizes = "full", {"longest": 0}


class Remembering(torch.nn.Module):
    """A module whose answers to short inputs are others once it has seen a long one."""

    def __init__(self, remember):
        super().__init__()
        self.config = Config()
        self.inner = torch.nn.Linear(1, 1)
        self.longest, self.seen, self.helper = 0, [], SimpleNamespace(scale=1.0)
        self.register_buffer("scale", torch.ones(1))
        self.remember = [remember]

    def forward(self, input_ids):
        if input_ids.shape[1] > 4:
            self.remember[0](self)
        change = self.longest + len(self.seen) + self.config.sizes["longest"] + (self.config.kind != "full")
        scale = self.scale * self.helper.scale * getattr(self, "late", 1.0)
        states = self.inner(input_ids[..., None].float() * scale) + change
        return SimpleNamespace(last_hidden_state=states)


def set_attribute(module):
    module.longest = 9


def add_attribute(module):
    module.late = 2.0


def grow_list(module):
    module.seen.append(1)


def write_buffer(module):
    module.scale.mul_(2)


def register_buffer(module):
    module.register_buffer("scale", 3 * torch.ones(1))


def swap_module(module):
    module.inner = torch.nn.Identity()


def write_config(module):
    module.config.kind = "sparse"


def write_table_of_config(module):
    module.config.sizes["longest"] = 9


def write_object(module):
    module.helper.scale = 2.0


MEMORIES = [
    set_attribute,
    add_attribute,
    grow_list,
    write_buffer,
    register_buffer,
    swap_module,
    write_config,
    write_table_of_config,
    write_object,
]


def oracle_of(model):
    return ForwardOracle(SimpleNamespace(traced=model, outputs=("last_hidden_state",)))


def ids(length):
    return {"input_ids": np.arange(2 * length).reshape(2, length)}


@pytest.mark.parametrize("remember", MEMORIES, ids=lambda remember: remember.__name__)
def test_a_long_input_leaves_nothing_behind(remember):
    model = Remembering(remember)
    with torch.inference_mode():
        plain = model(torch.from_numpy(ids(3)["input_ids"])).last_hidden_state.clone()
    oracle = oracle_of(model)
    long = oracle.outputs(ids(8))["last_hidden_state"]
    assert np.array_equal(oracle.outputs(ids(3))["last_hidden_state"], plain)
    assert np.array_equal(oracle.outputs(ids(8))["last_hidden_state"], long)
    # What the module does by itself is what this is for.
    with torch.inference_mode():
        model(torch.from_numpy(ids(8)["input_ids"]))
        assert not torch.equal(model(torch.from_numpy(ids(3)["input_ids"])).last_hidden_state, plain)


def test_parameters_are_not_copied():
    model = Remembering(set_attribute)
    before = {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
    Forgetful(model)(input_ids=torch.ones(1, 8, dtype=torch.long))
    assert {name: parameter.data_ptr() for name, parameter in model.named_parameters()} == before


def test_a_model_whose_attention_changes_for_good_answers_as_if_it_were_new():
    """BigBird goes from sparse to full attention at a short input, and stays there."""
    config = transformers.BigBirdConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        block_size=4,
        num_random_blocks=1,
        max_position_embeddings=128,
    )
    torch.manual_seed(0)
    oracle = oracle_of(transformers.BigBirdModel(config).eval())
    long = {"input_ids": np.random.default_rng(0).integers(5, 50, (1, 64))}
    before = oracle.outputs(long)["last_hidden_state"]
    assert oracle.accepts({"input_ids": np.full((1, 8), 7)})
    np.testing.assert_allclose(oracle.outputs(long)["last_hidden_state"], before, atol=1e-5)


@pytest.mark.parametrize("repeats", [True, False])
def test_an_oracle_that_does_not_repeat_itself_is_found_out(repeats):
    class Oracle:
        calls = 0

        def case(self, name, inputs):
            self.calls += 1
            return Case(name, inputs, {"logits": np.full((1, 3), 1.0 if repeats else self.calls)})

    plan = Plan(traced=None, grid=(("one", ids(3)), ("two", ids(4))), axes={})
    subject = SimpleNamespace(recorded=False, answers=lambda inputs: [], figures_of=lambda case, answers: [])
    assert examine(plan, Oracle(), {"cpu-fp32": subject}, budget=0).repeats == repeats
