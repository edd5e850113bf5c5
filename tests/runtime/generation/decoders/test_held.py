"""Prefix reuse: a decoder that goes on from what it holds of another prompt."""

import numpy as np
import pytest

from tests.runtime.generation.against_transformers import are_alike, opened, ours, theirs
from tests.runtime.generation.torch_decoding import CountingDecoding, TorchDecoding, drawn_prompts, tiny_model
from vitrify.runtime.errors import UsageError
from vitrify.runtime.generation.config import GenerationConfig
from vitrify.runtime.generation.decoders.guided import GuidedDecoding
from vitrify.runtime.generation.decoders.prefixes import resume
from vitrify.runtime.generation.loop import generate


def test_a_decoder_goes_on_from_what_it_holds():
    decoding = CountingDecoding(tiny_model("gpt2"))
    first = ours("gpt2", [9], {}, decoding=decoding)
    assert first.held.tolist() == first.sequences[0][:-1].tolist()
    assert decoding.lengths.tolist() == [len(first.held)]
    prompt = np.concatenate([first.sequences[0][:20], [7, 8]])
    decoding.tokens = 0
    options = GenerationConfig(max_new_tokens=6)
    second = generate(decoding, [prompt], options, held=first.held)
    assert decoding.tokens == 2 + 5
    assert second.sequences[0].tolist() == generate(opened("gpt2", [prompt]), [prompt], options).sequences[0].tolist()


@pytest.mark.parametrize(
    ("held", "prompt", "kept"),
    [
        ([4, 5, 6], [4, 5, 6], 2),
        ([4, 5, 6], [4, 5, 6, 7], 3),
        ([4, 5, 6], [4, 9, 6, 7], 1),
        ([4, 5, 6], [9], 0),
        ([4, 5], [4], 0),
    ],
    ids=str,
)
def test_what_is_common_is_kept_but_for_one_token(held, prompt, kept):
    decoding = opened("llama", [])
    decoding.append([np.array(held)])
    assert resume(decoding, np.array(held), np.array(prompt)).tolist() == prompt[kept:]
    assert decoding.lengths.tolist() == [kept]


def test_an_empty_decoder_resumes_from_nothing():
    made = ours("llama", [5], {}, held=np.zeros(0, np.int64))
    assert are_alike(made, theirs("llama", [5], {}))


class Forgetful(TorchDecoding):
    def truncate(self, length):
        super().truncate(length - 1)


def test_a_cache_that_is_off_by_one_is_noticed():
    held = drawn_prompts([9])[0]
    prompt = np.concatenate([held[:6], [7, 8]])
    fresh = generate(opened("gpt2", []), [prompt], GenerationConfig())
    for kind, is_right in ((TorchDecoding, True), (Forgetful, False)):
        decoding = opened("gpt2", [], kind)
        decoding.append([held])
        made = generate(decoding, [prompt], GenerationConfig(), held=held)
        assert (made.sequences[0].tolist() == fresh.sequences[0].tolist()) == is_right


def test_only_one_prompt_goes_on_from_a_held_one():
    with pytest.raises(UsageError, match="2 prompts cannot go on"):
        ours("llama", [5, 3], {}, held=np.array([4]))


def test_guidance_goes_on_from_a_held_prompt():
    held = drawn_prompts([9])[0]
    prompt = np.concatenate([held[:6], [7, 8]])
    config = GenerationConfig(guidance_scale=1.7)
    decoding = opened("gpt2", [])
    decoding.append([held])
    made = generate(decoding, [prompt], config, held=held)
    assert made.sequences[0].tolist() == generate(opened("gpt2", []), [prompt], config).sequences[0].tolist()
    assert decoding.lengths.tolist() == [len(made.held)]


def test_a_guided_decoder_truncates_and_clones_both():
    def guided():
        negative = opened("gpt2", [])
        return GuidedDecoding(opened("gpt2", []), negative, scale=1.7, negative_prompts=[np.array([9])])

    prompt, wrong, right = drawn_prompts([5])[0], np.array([[4, 5]]), np.array([[6]])
    expected = guided()
    expected.append([prompt])
    straight = expected.append(right).copy()
    decoding = guided()
    decoding.append([prompt])
    other = decoding.clone()
    other.append(wrong)
    assert decoding.lengths.tolist() == [5]
    np.testing.assert_allclose(decoding.append(right), straight, atol=1e-4)
    other.truncate(5)
    np.testing.assert_allclose(other.append(right), straight, atol=1e-4)
