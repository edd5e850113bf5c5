"""Greedy search and sampling: the tokens of transformers, one row or many, and what happens on the way."""

import numpy as np
import pytest
import torch

from tests.runtime.generation.against_transformers import (
    DECODERS,
    ENDS,
    PAD,
    SEQ2SEQ,
    are_alike,
    opened,
    ours,
    theirs,
)
from tests.runtime.generation.torch_decoding import (
    POSITIONS,
    CountingDecoding,
    TorchDecoding,
    drawn_prompts,
    tiny_model,
)
from vitrify.runtime.errors import UnsupportedError, UsageError
from vitrify.runtime.generation.config import GenerationConfig
from vitrify.runtime.generation.generated import padded
from vitrify.runtime.generation.loop import StreamClosed, generate

TOLERANCE = 1e-4
LENGTHS = ([5], [5, 3, 7])
OPTIONS = [
    {},
    {"eos_token_id": ENDS},
    {"eos_token_id": ENDS[0], "max_new_tokens": 40},
    {"eos_token_id": None},
    {"eos_token_id": ENDS, "min_new_tokens": 6},
    {"eos_token_id": ENDS, "min_length": 10},
    {"eos_token_id": ENDS, "forced_eos_token_id": 2, "max_new_tokens": 5},
    {"eos_token_id": ENDS, "exponential_decay_length_penalty": (2, 1.5)},
    {"max_length": 15},
    {"max_new_tokens": 80},  # the buffer grows
    {"max_new_tokens": 1},
    {"repetition_penalty": 1.8},
    {"no_repeat_ngram_size": 2, "max_new_tokens": 30},
    {"bad_words_ids": [[20], [21, 22], [6, 7, 8]], "eos_token_id": ENDS},
    {"sequence_bias": [[[20], 4.0], [[21, 22], -8.0]]},
    {"suppress_tokens": list(range(10, 30))},
    {"begin_suppress_tokens": list(range(4, 30))},
    {"remove_invalid_values": True, "renormalize_logits": True},
    {"forced_bos_token_id": 9},
    {"encoder_no_repeat_ngram_size": 1},
]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("model_type", [*DECODERS, *SEQ2SEQ])
def test_greedy_search_writes_the_tokens_of_transformers(model_type, lengths, options):
    if model_type in DECODERS and "encoder_no_repeat_ngram_size" in options:
        pytest.skip("there is no encoder")
    assert are_alike(ours(model_type, lengths, options), theirs(model_type, lengths, options))


@pytest.mark.parametrize("model_type", SEQ2SEQ)
@pytest.mark.parametrize("penalty", [0.5, 2.0])
def test_what_the_encoder_read_is_made_likelier(model_type, penalty):
    """transformers makes the pad token likelier too where rows are padded, so prompts go alone there."""
    options = {"encoder_repetition_penalty": penalty, "max_new_tokens": 20}
    together = ours(model_type, [5, 3, 7], options)
    for prompt, sequence in zip(drawn_prompts([5, 3, 7]), together.sequences, strict=True):
        expected = tiny_model(model_type).generate(torch.tensor(prompt)[None], **options)
        assert sequence.tolist() == expected[0].tolist()


@pytest.mark.parametrize("model_type", [*DECODERS, *SEQ2SEQ])
def test_scores_and_logits_are_those_of_transformers(model_type):
    options = {"eos_token_id": ENDS, "output_scores": True, "output_logits": True, "renormalize_logits": True}
    made, expected = ours(model_type, [5, 3, 7], options), theirs(model_type, [5, 3, 7], options)
    assert len(made.scores) == len(expected.scores) == len(made.logits)
    left = 0
    for step, (scores, logits) in enumerate(zip(made.scores, made.logits, strict=True)):
        runs = np.array(
            [len(row) - length > step for row, length in zip(made.sequences, made.prompt_lengths, strict=True)]
        )
        left += (~runs).sum()
        assert np.isnan(scores[~runs]).all()
        np.testing.assert_allclose(scores[runs], expected.scores[step][runs], atol=TOLERANCE)
        np.testing.assert_allclose(logits[runs], expected.logits[step][runs], atol=TOLERANCE)
    assert left


def test_log_probabilities_are_those_of_the_tokens_before_temperature():
    options = {"eos_token_id": ENDS, "do_sample": True, "temperature": 0.5, "seed": 1, "output_logits": True}
    made = ours("llama", [5, 3, 7], options, logprobs=True)
    for row, (sequence, prompt) in enumerate(zip(made.sequences, made.prompt_lengths, strict=True)):
        logits = torch.tensor(np.stack([step[row] for step in made.logits[: len(sequence) - prompt]]))
        expected = logits.log_softmax(-1).gather(1, torch.tensor(sequence[prompt:])[:, None])[:, 0]
        np.testing.assert_allclose(made.logprobs[row], expected, atol=TOLERANCE)


def test_finished_rows_leave_the_decoder():
    decoding = CountingDecoding(tiny_model("llama"))
    made = ours("llama", [5, 3, 7], {"eos_token_id": ENDS}, decoding=decoding)
    new = [len(row) - length for row, length in zip(made.sequences, made.prompt_lengths, strict=True)]
    assert decoding.rows == [sum(length > step for length in new) for step in range(max(new))]
    assert decoding.rows[-1] < 3


def test_rows_that_are_kept_give_the_same():
    decoding, seen = CountingDecoding(tiny_model("llama")), []

    def look(ids, scores):
        seen.append(len(ids))
        return scores

    options = {"eos_token_id": ENDS}
    made = ours("llama", [5, 3, 7], options, decoding=decoding, processors=[look], keep_rows=True)
    assert set(decoding.rows) == set(seen) == {3}
    assert are_alike(made, theirs("llama", [5, 3, 7], options))


def test_a_batch_gives_what_its_prompts_give_alone():
    together = ours("llama", [5, 3, 7], {"eos_token_id": ENDS})
    for prompt, sequence in zip(drawn_prompts([5, 3, 7]), together.sequences, strict=True):
        alone = generate(opened("llama", [prompt]), [prompt], GenerationConfig(eos_token_id=ENDS))
        assert alone.sequences[0].tolist() == sequence.tolist()


def test_sequences_begin_with_the_prompt_and_end_with_the_end_token():
    made = ours("llama", [5, 3, 7], {"eos_token_id": ENDS})
    for prompt, sequence, length in zip(drawn_prompts([5, 3, 7]), made.sequences, made.prompt_lengths, strict=True):
        assert sequence[:length].tolist() == prompt.tolist()
        assert sequence.dtype == np.int64
        inside = np.isin(sequence[length:-1], ENDS)
        assert not inside.any()


def test_the_users_parts_come_after_the_rules():
    def prefer_nine(ids, scores):
        scores[:, 9] = 1e4
        return scores

    def ends_at_nine(ids):
        return ids[:, -1] == 9

    made = ours("llama", [5, 3], {"suppress_tokens": [9]}, processors=[prefer_nine], stops=[ends_at_nine])
    assert [row.tolist()[-1] for row in made.sequences] == [9, 9]
    assert [len(row) for row in made.sequences] == [6, 4]


def test_allowed_tokens_go_by_prompt():
    def allowed(prompt, ids):
        assert (ids >= 0).all()
        return [20, 21] if prompt == 0 else [30]

    options = {"max_new_tokens": 4}
    made = ours("llama", [5, 3], options, prefix_allowed_tokens_fn=allowed)
    expected = theirs(
        "llama", [5, 3], options, prefix_allowed_tokens_fn=lambda row, ids: [20, 21] if row == 0 else [30]
    )
    assert are_alike(made, expected)


@pytest.mark.parametrize("negative", [None, [11, 12, 13]], ids=str)
@pytest.mark.parametrize("model_type", DECODERS)
def test_guidance_is_that_of_transformers(model_type, negative):
    options = {"guidance_scale": 1.7, "max_new_tokens": 12}
    prompts = drawn_prompts([5])
    call = {} if negative is None else {"negative": (opened(model_type, prompts), [np.array(negative)])}
    expected = {} if negative is None else {"negative_prompt_ids": torch.tensor([negative])}
    made = ours(model_type, [5], options, **call)
    assert are_alike(made, theirs(model_type, [5], options, **expected))
    assert not are_alike(made, theirs(model_type, [5], {"max_new_tokens": 12}))


def test_guided_rows_leave_together():
    together = ours("llama", [5, 3, 7], {"guidance_scale": 1.7, "eos_token_id": ENDS})
    for prompt, sequence in zip(drawn_prompts([5, 3, 7]), together.sequences, strict=True):
        alone = generate(opened("llama", [prompt]), [prompt], GenerationConfig(guidance_scale=1.7, eos_token_id=ENDS))
        assert alone.sequences[0].tolist() == sequence.tolist()


def test_sampling_the_likeliest_token_is_greedy_search():
    options = {"eos_token_id": ENDS}
    made = ours("llama", [5, 3, 7], {**options, "do_sample": True, "top_k": 1})
    assert are_alike(made, theirs("llama", [5, 3, 7], options))


def test_a_seed_makes_samples_repeatable():
    def sampled(seed):
        return padded(ours("llama", [5, 3], {"do_sample": True, "seed": seed, "num_return_sequences": 2}), PAD).tolist()

    assert sampled(1) == sampled(1)
    assert sampled(1) != sampled(2)


def test_samples_follow_the_model_and_stand_beside_their_prompt():
    count = 3000
    options = {"do_sample": True, "seed": 0, "num_return_sequences": count, "max_new_tokens": 1}
    made = ours("llama", [5, 3], {**options, "top_k": 6, "output_logits": True})
    prompts = drawn_prompts([5, 3])
    for row, prompt in enumerate(prompts):
        mine = made.sequences[row * count : (row + 1) * count]
        assert all((sequence[:-1] == prompt).all() for sequence in mine)
        logits = torch.tensor(made.logits[0][row * count])
        kept = logits.topk(6)
        expected = kept.values.softmax(-1).numpy()
        found = np.array([sum(sequence[-1] == token for sequence in mine) for token in kept.indices.tolist()]) / count
        assert np.isclose(found.sum(), 1)
        assert (np.abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / count)).all()


class Listener:
    """A streamer that closes before it takes `last + 1` puts."""

    def __init__(self, last=None):
        self.last, self.puts, self.ended = last, [], 0

    def put(self, tokens):
        if len(self.puts) == self.last:
            raise StreamClosed("enough")
        assert tokens.ndim == 1
        self.puts.append(tokens.tolist())

    def end(self):
        self.ended += 1


def test_a_streamer_gets_the_prompt_then_every_token():
    listener = Listener()
    made = ours("llama", [5], {"eos_token_id": ENDS, "min_new_tokens": 4}, streamer=listener)
    assert listener.puts == [made.sequences[0][:5].tolist(), *([token] for token in made.sequences[0][5:].tolist())]
    assert listener.ended == 1


@pytest.mark.parametrize("last", [0, 1, 4])
def test_a_streamer_that_closes_ends_generation(last):
    listener, decoding = Listener(last), CountingDecoding(tiny_model("llama"))
    made = ours("llama", [5], {}, streamer=listener, decoding=decoding)
    whole = ours("llama", [5], {}).sequences[0]
    assert made.sequences[0].tolist() == whole[: 5 + last].tolist()
    assert len(decoding.rows) == last
    assert made.held.tolist() == whole[: decoding.lengths.sum()].tolist()
    assert listener.ended == 0


def test_another_error_of_a_streamer_is_not_swallowed():
    class Broken(Listener):
        def put(self, tokens):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        ours("llama", [5], {}, streamer=Broken())


@pytest.mark.parametrize(
    ("lengths", "options"),
    [([5, 3], {}), ([5], {"num_beams": 2}), ([5], {"do_sample": True, "num_return_sequences": 2})],
    ids=str,
)
def test_a_streamer_takes_one_sequence(lengths, options):
    with pytest.raises(UsageError, match="a streamer accepts one sequence"):
        ours("llama", lengths, options, streamer=Listener())


class Shifted(TorchDecoding):
    def _positions(self, ids, mask):
        return super()._positions(ids, mask) + (ids.shape[1] == 1)


class Shuffled(TorchDecoding):
    def select(self, rows):
        super().select(rows[::-1].copy())


@pytest.mark.parametrize("model_type", DECODERS)
def test_a_shifted_position_is_noticed(model_type):
    assert not are_alike(ours(model_type, [5], {}, kind=Shifted), theirs(model_type, [5], {}))


def test_a_wrong_row_that_stays_is_noticed():
    options = {"eos_token_id": ENDS}
    assert not are_alike(ours("llama", [5, 3, 7], options, kind=Shuffled), theirs("llama", [5, 3, 7], options))


def test_no_time_is_time_for_one_token():
    options = {"max_time": 0.0, "max_new_tokens": 9}
    made = ours("llama", [5, 3], options)
    assert [len(row) for row in made.sequences] == [6, 4]
    assert are_alike(made, theirs("llama", [5, 3], options))


def test_the_default_length_is_cut_to_the_models_room():
    assert are_alike(ours("llama", [POSITIONS - 3], {}), theirs("llama", [POSITIONS - 3], {}))


def test_a_wanted_length_beyond_the_models_room_ends_there():
    made = ours("llama", [POSITIONS - 3], {"max_new_tokens": 50})
    assert len(made.sequences[0]) == POSITIONS + 1
    assert are_alike(made, theirs("llama", [POSITIONS - 3], {"max_new_tokens": 4}))


@pytest.mark.parametrize("options", [{"max_length": 5}, {"max_length": 4}], ids=str)
def test_a_prompt_without_room_for_an_answer_is_refused(options):
    with pytest.raises(ValueError, match="max_length"):
        theirs("llama", [5], options)
    with pytest.raises(UsageError, match="the prompt has 5: pass max_new_tokens"):
        ours("llama", [5], options)


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ([], "no prompts"),
        ([np.zeros(0, np.int64)], "prompt 0 is int64 of shape"),
        ([np.array([4]), np.array([[4]])], "prompt 1 is int64 of shape"),
        ([np.array([1.0])], "prompt 0 is float64"),
        ([np.array([-1])], "prompt 0 is int64"),
    ],
    ids=str,
)
def test_prompts_are_rows_of_tokens(prompts, words):
    with pytest.raises(UsageError, match=words):
        generate(opened("llama", []), prompts, GenerationConfig())


def test_negative_prompts_are_as_many_as_prompts():
    with pytest.raises(UsageError, match="1 negative prompts for 2 prompts"):
        ours("llama", [5, 3], {"guidance_scale": 2.0}, negative=(opened("llama", []), [np.array([4])]))


def test_what_the_config_excludes_is_refused_before_anything_runs():
    decoding = CountingDecoding(tiny_model("llama"))
    with pytest.raises(UnsupportedError, match="group beam search"):
        ours("llama", [5], {"num_beams": 4, "num_beam_groups": 2}, decoding=decoding)
    assert not decoding.rows
