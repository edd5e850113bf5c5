"""Logits processors, one by one, against transformers' classes on random scores and ids."""

import numpy as np
import pytest
import torch
import transformers
from transformers.generation import logits_process as oracle

from tests.runtime.generation.scores import LENGTHS, VOCABULARY, assert_same, drawn_ids, drawn_scores
from vitrify.runtime.errors import UsageError
from vitrify.runtime.generation.base import PADDING
from vitrify.runtime.generation.rules import processors

BIASES = {(3,): 1.5, (5, 6): -2.0, (9, 6): 0.5, (6,): -1.0, (2, 9, 6): 4.0, (7, 6): float("-inf")}


def repeated(*sequence, rows=3):
    """Return rows that end in a sequence, and one that does not."""
    return np.array([[1, 4, *sequence]] * rows + [[1, 4, *([8] * len(sequence))]], np.int64)


@pytest.mark.parametrize("ids", [*map(drawn_ids, LENGTHS), repeated(5), repeated(2, 9), repeated(7), repeated(9, 5)])
@pytest.mark.parametrize("as_list", [False, True])
def test_sequence_bias(ids, as_list):
    biases = [[list(tokens), bias] for tokens, bias in BIASES.items()] if as_list else BIASES
    theirs = oracle.SequenceBiasLogitsProcessor(biases)
    assert_same(processors.sequence_bias(biases, vocabulary=VOCABULARY), theirs, ids)


def test_biases_are_only_for_tokens_that_complete_a_sequence():
    scores = np.zeros((4, VOCABULARY), np.float32)
    found = processors.sequence_bias({(5, 6): -2.0}, vocabulary=VOCABULARY)(repeated(5), scores)
    assert found[:3, 6].tolist() == [-2, -2, -2]
    assert np.count_nonzero(found) == 3


def test_padding_begins_no_sequence():
    ids = np.array([[PADDING, PADDING, 5], [PADDING, 2, 9]], np.int64)
    found = processors.sequence_bias(BIASES, vocabulary=VOCABULARY)(ids, np.zeros((2, VOCABULARY), np.float32))
    assert found[:, 6].tolist() == [-3, 3.5]


BAD_BIASES = [{}, [], "5", {(): 1.0}, {5: 1.0}, {(-1,): 1.0}, {(0.5,): 1.0}, {(5,): "1"}, [[5, 1.0]], [[[5], None]]]


@pytest.mark.parametrize("biases", [*BAD_BIASES, [[]], {(VOCABULARY,): 1.0}, {(1, VOCABULARY): 1.0}])
def test_biases_that_cannot_be_right(biases):
    with pytest.raises(UsageError, match="sequence_bias"):
        processors.sequence_bias(biases, vocabulary=VOCABULARY)
    with pytest.raises((ValueError, IndexError)):  # transformers stumbles over an empty pair
        oracle.SequenceBiasLogitsProcessor(biases)(torch.ones(1, 1).long(), torch.zeros(1, VOCABULARY))


@pytest.mark.parametrize("ids", [*map(drawn_ids, LENGTHS), repeated(5), repeated(2, 9), repeated(9)])
@pytest.mark.parametrize("eos", [[], [3], [3, 11]])
def test_bad_words(ids, eos):
    words = [[3], [4], [5, 6], [2, 9, 6], [11], [5, 3]]
    theirs = oracle.NoBadWordsLogitsProcessor(words, eos or None)
    assert_same(processors.bad_words_ids(words, eos=eos, vocabulary=VOCABULARY), theirs, ids)


def test_end_tokens_are_no_bad_words():
    ours = processors.bad_words_ids([[3], [11]], eos=[3, 11], vocabulary=VOCABULARY)
    assert_same(ours, oracle.NoBadWordsLogitsProcessor([[3], [11]], [3, 11]), drawn_ids(3))


@pytest.mark.parametrize("words", [[], "5", [5], [[-1]], [["a"]], [[VOCABULARY]], {5: 6}])
def test_bad_words_that_cannot_be_right(words):
    with pytest.raises(UsageError):
        processors.bad_words_ids(words, eos=[3], vocabulary=VOCABULARY)
    with pytest.raises(ValueError):  # noqa: PT011 - any will do
        oracle.NoBadWordsLogitsProcessor(words, [3])(torch.ones(1, 1).long(), torch.zeros(1, VOCABULARY))


def test_a_bad_word_without_tokens():
    with pytest.raises(UsageError, match="bad_words_ids is"):
        processors.bad_words_ids([[5], []], vocabulary=VOCABULARY)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("least", [0, 1, 2, 5, 40])
def test_min_length(length, least):
    theirs = oracle.MinLengthLogitsProcessor(least, [3, 7])
    assert_same(processors.min_length(least, eos=[3, 7]), theirs, drawn_ids(length))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(("prompt", "least"), [(1, 0), (1, 1), (1, 5), (4, 1), (4, 30)])
def test_min_new_tokens(length, prompt, least):
    theirs = oracle.MinNewTokensLengthLogitsProcessor(prompt, least, [3, 7])
    assert_same(processors.min_new_tokens(least, prompt_length=prompt, eos=[3, 7]), theirs, drawn_ids(length))


@pytest.mark.parametrize("least", [-1, 2.5, "3", None])
def test_lengths_that_cannot_be_right(least):
    with pytest.raises(UsageError, match="min_length is"):
        processors.min_length(least, eos=[3])
    with pytest.raises(UsageError, match="min_new_tokens is"):
        processors.min_new_tokens(least, prompt_length=1, eos=[3])
    with pytest.raises(ValueError, match="min_length"):
        oracle.MinLengthLogitsProcessor(least, [3])


@pytest.mark.parametrize("tokens", [[0], [3, 3, 5], [VOCABULARY - 1, VOCABULARY, 9999], [-1, 4], []])
@pytest.mark.parametrize("length", LENGTHS)
def test_suppressed_tokens(length, tokens):
    ids = drawn_ids(length)
    assert_same(processors.suppress_tokens(tokens), oracle.SuppressTokensLogitsProcessor(tokens), ids)
    for begin in (length - 1, length, length + 1):
        theirs = oracle.SuppressTokensAtBeginLogitsProcessor(tokens, begin)
        assert_same(processors.begin_suppress_tokens(tokens, begin_index=begin), theirs, ids)


@pytest.mark.parametrize("beams", [1, 2, 3])
@pytest.mark.parametrize("length", LENGTHS)
def test_prefix_allowed_tokens(length, beams):
    ids = drawn_ids(length, rows=6)
    asked = []

    def allowed(prompt, row):
        asked.append((prompt, row.tolist()))
        return [(int(row[-1]) + prompt) % VOCABULARY, prompt, 5]

    scores = drawn_scores(rows=6)
    scores[:, 5] = -np.inf
    theirs = oracle.PrefixConstrainedLogitsProcessor(allowed, beams)
    assert_same(processors.prefix_allowed_tokens(allowed, beams=beams), theirs, ids, scores)
    assert asked[:6] == asked[6:]
    assert [prompt for prompt, _ in asked[:6]] == [row // beams for row in range(6)]


@pytest.mark.parametrize("beams", [1, 2, 3])
def test_allowed_tokens_that_others_forbid_are_allowed_if_no_beam_has_another(beams):
    scores = drawn_scores(rows=6)
    scores[:, 5] = -np.inf
    scores[0, 6] = -np.inf
    scores[3:, 6] = -np.inf
    theirs = oracle.PrefixConstrainedLogitsProcessor(lambda *_: [5, 6], beams)
    ours = processors.prefix_allowed_tokens(lambda *_: [5, 6], beams=beams)
    assert_same(ours, theirs, drawn_ids(4, rows=6), scores)


def test_a_prefix_has_no_padding():
    seen = []
    ids = np.array([[PADDING, PADDING, 7], [4, 5, 6]], np.int64)
    processors.prefix_allowed_tokens(lambda _, row: seen.append(row.tolist()) or [1])(ids, drawn_scores(rows=2))
    assert seen == [[7], [4, 5, 6]]


@pytest.mark.parametrize(
    ("tokens", "said"), [([], "allows no token"), ([VOCABULARY], "the model has"), ([-1], "allows")]
)
def test_allowed_tokens_that_cannot_be_right(tokens, said):
    with pytest.raises(UsageError, match=said):
        processors.prefix_allowed_tokens(lambda *_: tokens)(drawn_ids(3), drawn_scores())


@pytest.mark.parametrize("length", [1, 2, 5])
def test_forced_bos(length):
    ids = drawn_ids(length)
    assert_same(processors.forced_bos_token_id(9), oracle.ForcedBOSTokenLogitsProcessor(9), ids)


@pytest.mark.parametrize("length", [1, 4, 5, 6])
@pytest.mark.parametrize("tokens", [9, [9], [9, 2]])
def test_forced_eos(length, tokens):
    theirs = oracle.ForcedEOSTokenLogitsProcessor(6, tokens)
    assert_same(processors.forced_eos_token_id(tokens, max_length=6), theirs, drawn_ids(length))


@pytest.mark.parametrize("token", [-1, 1.5])
def test_forced_tokens_that_cannot_be_right(token):
    with pytest.raises(UsageError, match="forced_eos_token_id"):
        processors.forced_eos_token_id([token], max_length=6)
    with pytest.raises(ValueError, match="eos_token_id"):
        oracle.ForcedEOSTokenLogitsProcessor(6, [token])


def test_a_forced_token_beyond_the_vocabulary():
    with pytest.raises(UsageError, match=f"the model has {VOCABULARY} tokens"):
        processors.forced_bos_token_id(VOCABULARY)(drawn_ids(1), drawn_scores())


def test_invalid_values():
    scores = drawn_scores()
    scores[0, :4] = [np.nan, np.inf, -np.inf, 3]
    scores[1] = np.nan
    theirs = oracle.InfNanRemoveLogitsProcessor()
    found = assert_same(processors.remove_invalid_values(), theirs, drawn_ids(4), scores)
    assert np.isfinite(found).all()


END, NO_TIMESTAMPS = 20, 23
TEXT = range(END)
TIMES = range(NO_TIMESTAMPS + 1, VOCABULARY)
ANSWERS = [
    [],
    [TIMES[0]],
    [TIMES[2], 5],
    [TIMES[2], 5, TIMES[4]],
    [TIMES[2], 5, TIMES[4], TIMES[4]],
    [TIMES[2], 5, TIMES[4], TIMES[4], 6, 7],
    [5],
    [5, 6],
    [5, TIMES[3]],
    [TIMES[-1]],
    [5, TIMES[-1]],
    [5, 6, END],
]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("initial", [None, 0, 3, 500])
@pytest.mark.parametrize("favour", ["text", "times", None])
def test_whisper_timestamps(answer, initial, favour):
    settings = transformers.GenerationConfig(
        eos_token_id=END, no_timestamps_token_id=NO_TIMESTAMPS, max_initial_timestamp_index=initial
    )
    begin = 4
    ids = np.array([[*range(1, 1 + begin), *answer]] * 3, np.int64)
    scores = drawn_scores()
    scores[:, 3] += 40 * (favour == "text")
    scores[:, NO_TIMESTAMPS + 1 :] += 10 * (favour == "times")
    ours = processors.whisper_timestamps(no_timestamps=NO_TIMESTAMPS, eos=END, begin_index=begin, max_initial=initial)
    theirs = oracle.WhisperTimeStampLogitsProcessor(settings, begin)
    found = assert_same(ours, theirs, ids, scores)
    assert np.isneginf(found[:, NO_TIMESTAMPS]).all()


def test_rows_have_timestamps_of_their_own():
    settings = transformers.GenerationConfig(eos_token_id=END, no_timestamps_token_id=NO_TIMESTAMPS)
    answers = [answer for answer in ANSWERS if len(answer) == 2] + [[TIMES[1], TIMES[1]]]
    ids = np.array([[1, 2, *answer] for answer in answers], np.int64)
    ours = processors.whisper_timestamps(no_timestamps=NO_TIMESTAMPS, eos=END, begin_index=2)
    theirs = oracle.WhisperTimeStampLogitsProcessor(settings, 2)
    assert_same(ours, theirs, ids, drawn_scores(rows=len(ids)))
