"""Decoders that hold no token yet: rows are selected, and it is truncated and cloned, as if they were there."""

import numpy as np
import pytest

from tests.runtime.generation.against_transformers import SEQ2SEQ, opened
from tests.runtime.generation.torch_decoding import drawn_prompts
from vitrify.runtime.generation.decoders.guided import GuidedDecoding
from vitrify.runtime.generation.decoders.speculative import SpeculativeDecoding, prompt_lookup
from vitrify.runtime.generation.rules.healing import heal

PROMPTS = drawn_prompts([7, 4, 9])
AVOIDED = drawn_prompts([3, 5, 2], seed=1)


def guided(model_type):
    pair = opened(model_type, PROMPTS), opened(model_type, PROMPTS)
    return GuidedDecoding(*pair, scale=1.5, negative_prompts=AVOIDED)


@pytest.mark.parametrize("model_type", ["llama", "t5"])
@pytest.mark.parametrize("chosen", [[1], [2, 0], [0, 1, 2], [2, 2, 1]], ids=str)
def test_rows_of_guided_decoders_go_with_their_negative_prompts(model_type, chosen):
    expected = guided(model_type).append(PROMPTS)[chosen]
    decoding = guided(model_type).clone()
    decoding.truncate(0)
    decoding.select(np.array(chosen))
    np.testing.assert_allclose(decoding.append([PROMPTS[row] for row in chosen]), expected, atol=1e-4)


def test_a_guided_decoder_that_was_emptied_begins_again():
    decoding = guided("llama")
    first = decoding.append(PROMPTS).copy()
    decoding.append(np.array([[5], [6], [7]]))
    decoding.truncate(0)
    np.testing.assert_allclose(decoding.append(PROMPTS), first, atol=1e-4)


@pytest.mark.parametrize("model_type", ["llama", "bart"])
def test_a_decoder_that_guesses_may_be_cloned_and_truncated_first(model_type):
    prompt = PROMPTS[:1]
    expected = opened(model_type, prompt).append(prompt)
    decoding = SpeculativeDecoding(opened(model_type, prompt), prompt_lookup(3), prompt[0], limit=30).clone()
    decoding.truncate(3)
    decoding.select(np.array([0]))
    assert decoding.lengths.tolist() == []
    np.testing.assert_allclose(decoding.append(prompt), expected, atol=1e-5)


class Vocabulary:
    """Every token begins as 7 does but for 5, which stands alone."""

    def get_vocab(self):
        return {"x": 5, "a": 7, "ab": 8, "ac": 9}


@pytest.mark.parametrize("model_type", SEQ2SEQ)
def test_rows_that_are_healed_read_their_own_encoder_states(model_type):
    starts = [np.array([3, 11, 5]), np.array([3, 12, 7])]
    read = drawn_prompts([6, 8])
    alone = heal(opened(model_type, read[1:]), starts[1:], Vocabulary())
    found = heal(opened(model_type, read), starts, Vocabulary())
    assert found[0].tolist() == starts[0].tolist()
    assert found[1].tolist() == alone[0].tolist()
