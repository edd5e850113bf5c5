"""What a caller gives to generation over what the checkpoint says, and arrays of ids with their masks."""

import numpy as np
import pytest
import torch
import transformers

from tests.runtime.generation.torch_bundle import Bundle, generated
from tests.runtime.generation.torch_decoding import drawn_prompts, tiny_model
from vitrify.runtime.errors import UnsupportedError, UsageError
from vitrify.runtime.generation.call import generate_arrays


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


RULES = {
    "eos_token_id": list(range(4, 34)),
    "suppress_tokens": [*range(4, 44)],
    "repetition_penalty": 3.0,
    "min_length": 30,
}


@pytest.mark.parametrize("name", RULES)
def test_none_takes_back_what_the_checkpoint_says(name):
    model, prompt = tiny_model("gpt2"), drawn_prompts([9])[0]
    says = {"bos_token_id": 1, "pad_token_id": 3, "max_new_tokens": 12, name: RULES[name]}
    expected = model.generate(
        torch.tensor(prompt)[None],
        generation_config=transformers.GenerationConfig(**{**says, name: None}),
        eos_token_id=None,
    )
    bundle = Bundle(generation={"max_new_tokens": 12, name: RULES[name]})
    assert generated(bundle, [prompt], **{name: None}) == expected.tolist()
    if name != "min_length":  # without an end there is nothing that it keeps away
        assert generated(bundle, [prompt]) != expected.tolist()


def test_none_for_top_k_draws_from_every_token():
    bundle, prompts = Bundle(generation={"top_k": 1, "do_sample": True, "seed": 0}), drawn_prompts([9])
    free = generated(Bundle(), prompts, do_sample=True, top_k=0, seed=0, temperature=9.0)
    assert generated(bundle, prompts, top_k=None, seed=0, temperature=9.0) == free
    assert generated(bundle, prompts, seed=0, temperature=9.0) != free


@pytest.mark.parametrize("ends", [None, 3, [2, 3]], ids=str)
@pytest.mark.parametrize("pads", [(2, 0), (0, 0)], ids=str)
def test_a_mask_is_inferred_from_pads_as_in_transformers(pads, ends):
    rows = drawn_prompts([5, 7])
    width = 7
    ids = np.stack([np.concatenate([np.full(width - len(row), 3), row]) for row in rows])
    ids = np.concatenate([np.full((2, pads[0]), 3), ids], axis=1)[:, pads[0] // 2 :]
    theirs = tiny_model("gpt2").generate(torch.tensor(ids), max_new_tokens=8, eos_token_id=ends)
    made = generate_arrays(Bundle(), ids, None, {"max_new_tokens": 8, "eos_token_id": ends})
    assert made[:, -8:].tolist() == theirs[:, -8:].tolist()


def test_no_mask_is_inferred_for_an_encoder():
    ids = np.array([[3, 3, 9, 8, 7]])
    theirs = tiny_model("bart").generate(torch.tensor(ids), max_new_tokens=8, eos_token_id=None)
    made = generate_arrays(Bundle("bart"), ids, None, {"max_new_tokens": 8})
    assert made.tolist() == theirs.tolist()


@pytest.mark.parametrize("given", [{"guidance_scale": 2.0}, {"guidance_scale": 0.3, "num_beams": 2}], ids=str)
def test_guidance_of_an_encoder_decoder_is_refused(given):
    with pytest.raises(UnsupportedError, match=r"guidance_scale=.* not supported for encoder-decoders"):
        generated(Bundle("bart"), drawn_prompts([6]), **given)


@pytest.mark.parametrize(
    ("ids", "mask", "words"),
    [
        ([[1, 2], [3]], None, "input_ids must be one array"),
        ([[1.5, 2]], None, "input_ids must be whole numbers"),
        ([[[1]]], None, "input_ids must be whole numbers"),
        ([[1, 2]], [[1]], r"attention_mask is \[1, 1\], input_ids \[1, 2\]"),
    ],
    ids=str,
)
def test_arrays_that_cannot_be_right_are_refused(ids, mask, words):
    with pytest.raises(UsageError, match=words):
        generate_arrays(Bundle(), ids, mask, {})


def test_arrays_are_read_without_their_padding():
    first, second = drawn_prompts([5, 3])
    ids = np.stack([first, np.concatenate([[3, 3], second])])
    made = generate_arrays(Bundle(), ids, [[1] * 5, [0, 0, 1, 1, 1]], {})
    assert made[0].tolist() == generated(Bundle(), [first])[0]
    assert made[1].tolist() == [3, 3, *generated(Bundle(), [second])[0]]
