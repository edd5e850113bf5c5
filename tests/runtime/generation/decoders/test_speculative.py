"""Speculation: the tokens, scores and draws of plain generation, in fewer runs of the decoder."""

import numpy as np
import pytest
import torch

from tests.runtime.generation.against_transformers import are_alike, opened, ours, theirs
from tests.runtime.generation.torch_decoding import (
    POSITIONS,
    VOCABULARY,
    CountingDecoding,
    TorchDecoding,
    drawn_prompts,
    tiny_model,
)
from vitrify.runtime.errors import UsageError
from vitrify.runtime.generation.config import GenerationConfig
from vitrify.runtime.generation.decoders.speculative import DraftModel, SpeculativeDecoding, prompt_lookup
from vitrify.runtime.generation.loop import StreamClosed, generate

LOOKUP = {"prompt_lookup_num_tokens": 4}
# Rules that make text repeat itself, or that go by what stands where.
OPTIONS = [
    {},
    {"max_new_tokens": 40, "eos_token_id": None},
    {"max_new_tokens": 40, "eos_token_id": list(range(4, 8))},
    {"max_new_tokens": 1},
    {"max_new_tokens": 2},
    {"max_new_tokens": 60, "suppress_tokens": list(range(9, VOCABULARY)), "eos_token_id": None},
    {"max_new_tokens": 30, "repetition_penalty": 1.5},
    {"max_new_tokens": 30, "no_repeat_ngram_size": 3, "eos_token_id": None},
    {"max_new_tokens": 12, "min_new_tokens": 10, "forced_eos_token_id": 2},
    {"max_new_tokens": 300, "eos_token_id": None},
]
REPEATING = OPTIONS[5]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def same_draft():
    return TorchDecoding(tiny_model("gpt2"))


def other_draft():
    return TorchDecoding(tiny_model("gpt2", seed=1))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("guess", ["lookup", "same", "other"])
def test_greedy_tokens_are_those_without_guesses(guess, options):
    call = {"lookup": {}, "same": {"assistant": same_draft()}, "other": {"assistant": other_draft()}}[guess]
    more = LOOKUP if guess == "lookup" else {}
    made = ours("gpt2", [9], {**options, **more}, **call)
    assert made.sequences[0].tolist() == ours("gpt2", [9], options).sequences[0].tolist()


def test_greedy_tokens_are_those_of_transformers():
    assert are_alike(ours("llama", [9], REPEATING | LOOKUP), theirs("llama", [9], REPEATING | LOOKUP))
    draft = tiny_model("llama", seed=1)
    made = ours("llama", [9], REPEATING, assistant=TorchDecoding(draft))
    assert are_alike(made, theirs("llama", [9], REPEATING, assistant_model=draft))


@pytest.mark.parametrize("model_type", ["t5", "bart"])
def test_answers_of_an_encoder_decoder_are_guessed_too(model_type):
    options = {"max_new_tokens": 30, "eos_token_id": None, "assistant_confidence_threshold": 0}
    plain = ours(model_type, [9], options)
    assert ours(model_type, [9], options | LOOKUP).sequences[0].tolist() == plain.sequences[0].tolist()
    decoding = opened(model_type, drawn_prompts([9]), counting(model_type))
    made = ours(model_type, [9], options, decoding=decoding, assistant=opened(model_type, drawn_prompts([9])))
    assert made.sequences[0].tolist() == plain.sequences[0].tolist()
    assert len(decoding.rows) < 6


def counting(model_type):
    """Return the kind of decoder that counts its runs."""
    base = type(opened(model_type, drawn_prompts([3])))

    class Counting(base):
        def __init__(self, *args):
            super().__init__(*args)
            self.rows = []

        def append(self, tokens, *, keep=1):
            self.rows.append(len(tokens))
            return super().append(tokens, keep=keep)

    return Counting


def test_guesses_save_runs_where_text_repeats_itself():
    def repeat(ids, scores):
        scores[:, ids[0, -5]] += 50
        return scores

    plain, looked, drafted = (CountingDecoding(tiny_model("gpt2")) for _ in range(3))
    options = {"max_new_tokens": 60, "eos_token_id": None}
    expected = ours("gpt2", [9], options, decoding=plain, processors=[repeat])
    made = ours("gpt2", [9], options | LOOKUP, decoding=looked, processors=[repeat])
    assert made.sequences[0].tolist() == expected.sequences[0].tolist()
    assert len(plain.rows) == 60
    assert len(looked.rows) <= 60 / 5 + 6  # four guesses and a token more a run, once the text repeats itself
    # A draft that is the model itself is always right: the prompt alone, then 20 guesses and a token more each time.
    options = {"max_new_tokens": 43, "eos_token_id": None, "assistant_confidence_threshold": 0}
    ours("gpt2", [9], options, decoding=drafted, assistant=same_draft())
    assert len(drafted.rows) == 3


def test_what_is_not_accepted_is_forgotten():
    """After the call the decoder holds the tokens that were chosen, so another call may go on from them."""
    for more in (LOOKUP, {}):
        decoding = opened("gpt2", [])
        assistant = None if more else other_draft()
        made = ours("gpt2", [9], {"max_new_tokens": 25, **more}, decoding=decoding, assistant=assistant)
        assert decoding.lengths.tolist() == [len(made.held)]
        prompt = np.concatenate([made.sequences[0], [7, 8]])
        again = generate(decoding, [prompt], GenerationConfig(max_new_tokens=9), held=made.held)
        fresh = generate(opened("gpt2", []), [prompt], GenerationConfig(max_new_tokens=9))
        assert again.sequences[0].tolist() == fresh.sequences[0].tolist()


class Stubborn(TorchDecoding):
    """A cache that keeps what it should forget."""

    def truncate(self, length):
        super().truncate(min(length + 1, int(self.lengths[0])))


def test_a_cache_that_keeps_wrong_guesses_is_noticed():
    options = {"max_new_tokens": 30, "eos_token_id": None}
    plain = ours("gpt2", [9], options).sequences[0].tolist()
    call = {"assistant": other_draft()}
    assert ours("gpt2", [9], options | {"assistant_confidence_threshold": 0}, **call).sequences[0].tolist() == plain
    with_wrong = ours("gpt2", [9], options, kind=Stubborn, assistant=other_draft())
    assert with_wrong.sequences[0].tolist() != plain


def test_scores_and_log_probabilities_are_those_without_guesses():
    options = {"max_new_tokens": 20, "repetition_penalty": 1.2, "output_scores": True, "output_logits": True}
    plain = ours("gpt2", [9], options, logprobs=True)
    made = ours("gpt2", [9], options | LOOKUP, logprobs=True)
    for name in ("scores", "logits", "logprobs"):
        np.testing.assert_allclose(np.stack(getattr(made, name)), np.stack(getattr(plain, name)), atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("guess", ["lookup", "draft"])
def test_draws_are_those_without_guesses(guess, seed):
    options = {"do_sample": True, "temperature": 0.6, "max_new_tokens": 30, "seed": seed, "eos_token_id": None}
    plain = ours("gpt2", [9], options)
    more = LOOKUP if guess == "lookup" else {}
    made = ours("gpt2", [9], options | more, assistant=None if more else same_draft())
    assert made.sequences[0].tolist() == plain.sequences[0].tolist()


class Listener:
    def __init__(self, most=None):
        self.got, self.most, self.has_ended = [], most, False

    def put(self, tokens):
        self.got.append(tokens.tolist())
        if self.most is not None and len(self.got) > self.most:
            raise StreamClosed

    def end(self):
        self.has_ended = True


def test_a_streamer_gets_token_by_token():
    listener = Listener()
    made = ours("gpt2", [9], REPEATING | LOOKUP, streamer=listener)
    prompt, *new = listener.got
    assert listener.has_ended
    assert prompt == made.sequences[0][:9].tolist()
    assert new == [[token] for token in made.sequences[0][9:].tolist()]


def test_a_stream_that_is_closed_leaves_what_was_chosen():
    decoding = opened("gpt2", [])
    made = ours("gpt2", [9], REPEATING | LOOKUP, decoding=decoding, streamer=Listener(most=8))
    assert len(made.sequences[0]) == 9 + 8
    assert decoding.lengths.tolist() == [len(made.held)]


def test_stops_of_the_caller_end_between_guesses():
    def stop(ids):
        return ids[:, -1] == wanted

    plain = ours("gpt2", [9], REPEATING).sequences[0].tolist()
    wanted = plain[9 + 13]
    made = ours("gpt2", [9], REPEATING | LOOKUP, stops=[stop])
    assert made.sequences[0].tolist() == plain[: 9 + plain[9:].index(wanted) + 1]


def test_guidance_goes_with_guesses():
    options = {"guidance_scale": 1.5, "max_new_tokens": 20, "eos_token_id": None}
    assert ours("gpt2", [9], options | LOOKUP).sequences[0].tolist() == ours("gpt2", [9], options).sequences[0].tolist()


def test_guesses_go_on_from_a_held_prompt():
    held = drawn_prompts([9])[0]
    prompt = np.concatenate([held, [7]])
    plain = generate(opened("gpt2", []), [prompt], GenerationConfig(max_new_tokens=20))
    decoding = opened("gpt2", [])
    decoding.append([held])
    made = generate(decoding, [prompt], GenerationConfig(max_new_tokens=20, **LOOKUP), held=held)
    assert made.sequences[0].tolist() == plain.sequences[0].tolist()


@pytest.mark.parametrize(
    ("ids", "most", "expected"),
    [
        ([5, 6, 7, 8, 5, 6], 9, [7, 8, 5]),
        ([5, 6, 7, 8, 5, 6], 2, [7, 8]),
        ([6, 9, 5, 6, 7, 8, 5, 6], 9, [7, 8, 5]),  # two tokens win over one
        ([6, 9, 4, 6], 9, [9, 4, 6]),
        ([5, 6, 7], 9, []),
        ([5], 9, []),
        ([5, 5], 9, [5]),
    ],
    ids=str,
)
def test_lookup_finds_what_followed_before(ids, most, expected):
    assert prompt_lookup(3)(np.array(ids), most).tolist() == expected


class Certain:
    """A decoder of one row that writes the numbers in order; it is sure but of what follows `doubted`."""

    vocabulary, capacity = 30, 12

    def __init__(self, doubted=None):
        self.held, self.doubted = [], doubted

    @property
    def lengths(self):
        return np.array([len(self.held)])

    def append(self, tokens, *, keep=1):
        self.held += tokens[0].tolist()
        logits = np.zeros((1, 1, self.vocabulary), np.float32)
        logits[0, 0, self.held[-1] + 1] = 0.1 if self.held[-1] == self.doubted else 20
        return logits

    def truncate(self, length):
        del self.held[length:]


def test_a_draft_model_guesses_as_long_as_it_is_sure():
    draft = DraftModel(Certain(doubted=6), count=5, confidence=0.4, adapts=False)
    assert draft(np.array([3, 4]), 9).tolist() == [5, 6, 7]
    assert draft(np.array([3, 4, 5, 6, 7, 8]), 2).tolist() == [9, 10]
    assert draft(np.arange(11), 9).tolist() == [11, 12]  # it has room for one token more than it is given
    assert draft(np.arange(13), 9).tolist() == []
    assert draft(np.array([3, 99]), 9).tolist() == []  # no token of its own


def test_a_draft_model_that_adapts_guesses_more_when_it_is_right():
    draft = DraftModel(Certain(), count=2, confidence=0, adapts=True)
    assert draft(np.array([1]), 9).tolist() == [2, 3]
    assert draft(np.array([1, 2, 3, 4]), 9).tolist() == [5, 6, 7, 8]
    assert draft(np.array([1, 2, 3, 4, 5, 0]), 9).tolist() == [1, 2, 3]
    assert draft(np.array([1, 0]), 9).tolist() == [1, 2]


def test_guesses_behind_an_end_are_not_run():
    decoding = CountingDecoding(tiny_model("gpt2"))
    guessing = SpeculativeDecoding(
        decoding, lambda ids, most: np.array([7, 2, 8, VOCABULARY]), np.array([4, 5]), limit=20, ends=[2]
    )
    guessing.append([np.array([4, 5])])
    guessing.append(np.array([[6]]))
    assert decoding.tokens == 2 + 2
    assert guessing.lengths.tolist() == [3]
    other = guessing.clone()
    expected = guessing.append(np.array([[7]])).copy()
    assert decoding.tokens == 2 + 2  # the guess held
    np.testing.assert_allclose(other.append(np.array([[7]])), expected, atol=1e-4)


def test_no_room_is_asked_for_beyond_the_model():
    made = ours(
        "gpt2", [9], {"max_new_tokens": 300, "eos_token_id": None, "suppress_tokens": list(range(9, 40))} | LOOKUP
    )
    assert len(made.sequences[0]) == POSITIONS + 1


@pytest.mark.parametrize("more", [{"num_beams": 2}, {"do_sample": True, "num_return_sequences": 2}], ids=str)
@pytest.mark.parametrize("assistant", [False, True])
def test_several_sequences_are_not_guessed(more, assistant):
    call = {"assistant": same_draft()} if assistant else {}
    with pytest.raises(UsageError, match=r"works on one sequence, but 1 prompts with"):
        ours("gpt2", [9], more | ({} if assistant else LOOKUP), **call)


def test_several_prompts_are_not_guessed():
    with pytest.raises(UsageError, match="prompt_lookup_num_tokens works on one sequence, but 2 prompts"):
        ours("gpt2", [9, 5], LOOKUP)


def test_two_ways_to_guess_exclude_each_other():
    with pytest.raises(UsageError, match="both guess"):
        ours("gpt2", [9], LOOKUP, assistant=same_draft())


def test_an_unknown_schedule_is_refused():
    with pytest.raises(UsageError, match="num_assistant_tokens_schedule is 'sometimes'"):
        GenerationConfig(num_assistant_tokens_schedule="sometimes")
