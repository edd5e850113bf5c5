"""Whisper's generation against transformers', on a seeded model and noise, which makes it write all it may."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from transformers.models.whisper import generation_whisper as reference

from tests.runtime.generation.torch_speech import TorchSpeechModel, noises
from tests.tiny_models import STATES, tiny_whisper, whisper_tokenizer
from vitrify.runtime.errors import UsageError
from vitrify.runtime.generation.config import GenerationConfig
from vitrify.runtime.generation.whisper.alignment import median_filter, token_times, warp
from vitrify.runtime.generation.whisper.segments import split_segments
from vitrify.runtime.generation.whisper.windows import Recording, TranscriptionOptions, transcribe

WINDOW = 2 * STATES


def ours(model, *recordings, num_beams=1, max_new_tokens=None, **options):
    config = GenerationConfig.from_mapping(model.generation_config)
    config = config.updated(num_beams=num_beams, max_new_tokens=max_new_tokens, seed=0)
    return transcribe(model, recordings, config=config, options=TranscriptionOptions(**options))


def theirs(model, features, **options):
    words = options.get("return_timestamps") == "word"
    options |= {"return_timestamps": True, "return_token_timestamps": True} if words else {}
    options = {"num_beams": 1, "attention_mask": torch.ones(1, features.shape[1], dtype=torch.long), **options}
    model.set_attn_implementation("eager")
    return model.generate(
        torch.from_numpy(features)[None],
        generation_config=copy.deepcopy(model.generation_config),
        return_segments=True,
        **options,
    )


@dataclass(frozen=True)
class Asked:
    frames: int
    options: dict
    multilingual: bool = True


PROMPT = [whisper_tokenizer().convert_tokens_to_ids("<|startofprev|>"), 30, 31, 32]
CONDITIONED = {"return_timestamps": True, "condition_on_prev_tokens": True}
THRESHOLDS = {"logprob_threshold": -3.0, "compression_ratio_threshold": 1.2, "temperature": (0.0,)}
CASES = {
    "short": Asked(WINDOW, {}),
    "english": Asked(WINDOW, {}, multilingual=False),
    "language": Asked(WINDOW, {"language": "french"}),
    "translation": Asked(WINDOW, {"language": "<|de|>", "task": "translate"}),
    "task": Asked(WINDOW, {"task": "transcribe"}),
    "segments": Asked(WINDOW, {"return_timestamps": True}),
    "long": Asked(250, {"return_timestamps": True}),
    "long-english": Asked(250, {"return_timestamps": True}, multilingual=False),
    "conditioned": Asked(250, CONDITIONED),
    "prompt": Asked(250, {"return_timestamps": True, "prompt_ids": PROMPT}),
    "prompt-first": Asked(250, {**CONDITIONED, "prompt_ids": PROMPT}),
    "prompt-always": Asked(250, {**CONDITIONED, "prompt_ids": PROMPT, "prompt_condition_type": "all-segments"}),
    "thresholds": Asked(250, {**CONDITIONED, **THRESHOLDS}),
    "silence": Asked(
        250, {**CONDITIONED, "logprob_threshold": -0.5, "no_speech_threshold": 0.0005, "temperature": 0.0}
    ),
    "words": Asked(WINDOW, {"return_timestamps": "word"}),
    "long-words": Asked(250, {"return_timestamps": "word"}),
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("case", CASES)
def test_transcriptions_are_those_of_transformers(case, seed):
    asked = CASES[case]
    model = tiny_whisper(multilingual=asked.multilingual, seed=seed)
    features = noises(asked.frames, seed=seed)[0]
    options = {"prompt_ids": torch.tensor(PROMPT)} if "prompt_ids" in asked.options else {}
    expected = theirs(model, features, **{**asked.options, **options})
    found = ours(TorchSpeechModel(model), Recording(features, asked.frames), **asked.options)[0]
    segments = expected["segments"][0]
    assert [s.tokens for s in found.segments] == [s["tokens"].tolist() for s in segments]
    for name in ("start", "end"):
        spans = [float(s[name]) for s in segments]
        np.testing.assert_allclose([getattr(s, name) for s in found.segments], spans, atol=1e-6)
    if asked.options.get("return_timestamps") == "word":
        times = torch.cat([s["token_timestamps"] for s in segments]).numpy()
        np.testing.assert_allclose(found.times, times, atol=1e-4)


@pytest.mark.parametrize("seed", [0, 2, 5])
def test_words_after_the_end_are_where_their_window_starts(seed):
    model, frames = tiny_whisper(seed=seed), 70
    features = noises(WINDOW, seed=seed)[0]
    mask = (torch.arange(WINDOW) < frames).long()[None]
    segments = theirs(model, features, return_timestamps="word", attention_mask=mask)["segments"][0]
    expected = torch.cat([s["token_timestamps"] for s in segments]).numpy()
    found = ours(TorchSpeechModel(model), Recording(features, frames), return_timestamps="word")[0]
    assert found.tokens == [token for s in segments for token in s["tokens"].tolist()]
    times = np.array(found.times)
    late = times >= frames * 0.01
    np.testing.assert_allclose(times[~late], expected[~late], atol=1e-4)
    assert {round(time, 2) for time in times[late]} <= {round(s.end, 2) for s in found.segments}
    assert not np.allclose(times[late], expected[late], atol=1e-4), "transformers aligns them with padding no longer"


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("options", [{}, {"return_timestamps": True}, {"language": "en", **THRESHOLDS}])
def test_beams_are_those_of_transformers(options, seed):
    model, features = tiny_whisper(seed=seed), noises(WINDOW, seed=seed)[0]
    expected = theirs(model, features, **options, num_beams=3)["sequences"][0].tolist()
    assert ours(TorchSpeechModel(model), Recording(features, WINDOW), num_beams=3, **options)[0].tokens == expected


def test_the_language_that_is_heard_is_told():
    model, features = tiny_whisper(), noises(WINDOW)[0]
    heard = model.detect_language(torch.from_numpy(features)[None]).item()
    model = TorchSpeechModel(model)
    assert ours(model, Recording(features, WINDOW))[0].language == heard
    asked = ours(model, Recording(features, WINDOW), language="ja")[0].language
    assert asked == model.generation_config["lang_to_id"]["<|ja|>"]


def test_every_recording_may_have_a_language_of_its_own():
    model = TorchSpeechModel(tiny_whisper())
    recordings = [Recording(each, WINDOW) for each in noises(WINDOW, WINDOW)]
    found = ours(model, *recordings, language=["ja", "english"])
    alone = [ours(model, each, language=name)[0] for each, name in zip(recordings, ("ja", "en"), strict=True)]
    assert [each.tokens for each in found] == [each.tokens for each in alone]
    assert found[0].language != found[1].language
    with pytest.raises(UsageError, match="language lists 2 languages for 1 audio files at once"):
        ours(model, recordings[0], language=["ja", "en"])


@pytest.mark.parametrize("options", [{}, CONDITIONED, {**CONDITIONED, **THRESHOLDS}, {"return_timestamps": "word"}])
def test_recordings_do_not_depend_on_their_batch(options):
    model = TorchSpeechModel(tiny_whisper(seed=1))
    recordings = [Recording(each, each.shape[1]) for each in noises(WINDOW, 190, WINDOW)]
    together = ours(model, *recordings, **options)
    for found, recording in zip(together, recordings, strict=True):
        alone = ours(model, recording, **options)[0]
        assert found.tokens == alone.tokens
        np.testing.assert_allclose(found.times, alone.times, atol=1e-6)


def test_a_doubtful_window_is_tried_again_hotter_without_a_second_encoding():
    model = TorchSpeechModel(tiny_whisper(seed=1))  # which writes no timestamps unasked: one window each
    recordings = [Recording(each, WINDOW) for each in noises(WINDOW, WINDOW, seed=5)]
    cold = [each.tokens for each in ours(model, *recordings)]
    model.encoded_rows = 0
    doubted = ours(model, *recordings, logprob_threshold=0.0, temperature=(0.0, 0.4, 0.9))
    assert model.encoded_rows == 2
    assert all(each.tokens != tokens for each, tokens in zip(doubted, cold, strict=True))
    content = ours(model, *recordings, logprob_threshold=-100.0, temperature=(0.0, 0.4, 0.9))
    assert [each.tokens for each in content] == cold


def test_only_rows_that_failed_are_tried_again():
    model = TorchSpeechModel(tiny_whisper(seed=2))  # which repeats itself more, the louder the noise
    quiet, loud = np.zeros((80, WINDOW), np.float32), 3 * noises(WINDOW, seed=5)[0]
    recordings = [Recording(each, WINDOW) for each in (quiet, loud, quiet)]
    cold = [each.tokens for each in ours(model, *recordings)]
    found = ours(model, *recordings, compression_ratio_threshold=1.42, temperature=(0.0, 1.0))
    assert [each.tokens == tokens for each, tokens in zip(found, cold, strict=True)] == [True, False, True]


def test_a_lone_threshold_of_silence_is_refused():
    with pytest.raises(UsageError, match="logprob_threshold"):
        TranscriptionOptions(no_speech_threshold=0.6)


@pytest.mark.parametrize(
    ("multilingual", "options", "message"),
    [
        (False, {"language": "en"}, "English-only"),
        (False, {"task": "translate"}, "English-only"),
        (True, {"language": "frensh"}, "french"),
        (True, {"language": "spanish"}, "4 languages"),
        (True, {"task": "summarize"}, "'transcribe', 'translate'"),
        (True, {"return_timestamps": False}, "longer than 30 seconds"),
        (True, {"return_timestamps": True, "max_new_tokens": 63}, "max_new_tokens"),
        (True, {"prompt_ids": [30] * 70}, "prompt"),
    ],
)
def test_what_cannot_be_asked_is_refused(multilingual, options, message):
    model = TorchSpeechModel(tiny_whisper(multilingual=multilingual))
    with pytest.raises(UsageError, match=message):
        ours(model, Recording(noises(250)[0], 250), **options)


@pytest.mark.parametrize(
    "options",
    [
        {"prompt_condition_type": "sometimes"},
        {"prompt_condition_type": "all-segments"},
        {"temperature": ()},
        {"temperature": (0.0, -1.0)},
        {"language": ["en", 3]},
        {"language": []},
    ],
)
def test_options_that_cannot_be_right_are_refused(options):
    with pytest.raises(UsageError):
        TranscriptionOptions(**options)


@pytest.mark.parametrize("integers", [True, False])
def test_warping_is_that_of_transformers(integers):
    generator = np.random.default_rng(0)
    for _ in range(60):
        shape = generator.integers(1, 9), generator.integers(1, 14)
        costs = generator.integers(0, 3, shape).astype(float) if integers else generator.normal(size=shape)
        for found, expected in zip(warp(costs), reference._dynamic_time_warping(costs), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("width", [3, 4, 9])
def test_the_median_filter_is_that_of_transformers(width):
    values = np.random.default_rng(0).normal(size=(2, 3, width)).astype(np.float32)
    expected = reference._median_filter(torch.from_numpy(values), 7).numpy()
    np.testing.assert_array_equal(median_filter(values, 7), expected)


@pytest.mark.parametrize(("tokens", "frames"), [(0, 50), (1, 50), (4, 0), (4, -9)])
def test_times_exist_where_there_is_nothing_to_align(tokens, frames):
    attention = np.random.default_rng(0).random((2, tokens, 50)).astype(np.float32)
    np.testing.assert_array_equal(token_times(attention, frames=frames), np.zeros(tokens + 1))


def test_segments_are_those_of_transformers():
    generator, begin, seek, frames = np.random.default_rng(0), 100, 40, 90
    for _ in range(300):
        stamps = np.sort(generator.integers(1, STATES, 12))
        tokens, kinds = [], generator.random(generator.integers(1, 12))
        for kind, stamp in zip(kinds, stamps, strict=False):
            tokens += [begin + stamp] * (1 + (kind < 0.25)) if kind < 0.5 else [7]
        expected, advance = reference.WhisperGenerationMixin._retrieve_segment(
            torch.tensor(tokens),
            [{}],
            time_offset=torch.tensor([seek * 0.01], dtype=torch.float64),
            timestamp_begin=begin,
            seek_num_frames=torch.tensor([frames]),
            time_precision=0.02,
            time_precision_features=0.01,
            input_stride=2,
            prev_idx=0,
            idx=0,
            return_token_timestamps=False,
            decoder_input_ids=torch.zeros(1, 3),
        )
        found, ours_advance = split_segments(tokens, timestamp_begin=begin, seek=seek, frames=frames)
        assert [s.tokens for s in found] == [s["tokens"].tolist() for s in expected]
        np.testing.assert_allclose(
            [(s.start, s.end) for s in found], [(float(s["start"]), float(s["end"])) for s in expected]
        )
        assert ours_advance == int(advance)
