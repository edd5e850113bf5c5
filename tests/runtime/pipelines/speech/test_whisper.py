"""Whisper's pipeline against transformers', on a seeded model; on the real tiny.en, when there is one, if asked for."""

import copy
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tests.fakes import FakeBundle
from tests.runtime.generation.torch_speech import TorchSpeechModel
from tests.sounds import sound
from tests.tiny_models import tiny_whisper, whisper_tokenizer
from vitrify.runtime.errors import UsageError
from vitrify.runtime.pipelines.speech.whisper import WhisperRecognitionPipeline

TASK = "automatic-speech-recognition"
CHECKPOINT = os.environ.get("VITRIFY_WHISPER_TINY_EN")  # a folder in transformers' format


class WhisperBundle(FakeBundle):
    """A bundle whose graphs are a PyTorch model."""

    def __init__(self, model, folder):
        self.speech = TorchSpeechModel(model)
        says = {"config": self.speech.config, "generation_config": self.speech.generation_config}
        super().__init__(name="whisper", folder=folder, **says)

    def decoding(self, *, input_features):
        return self.speech.decoding(input_features)

    def graph(self, name):
        return {"encoder_model": self._encoder, "cross_attention": self._cross, "alignment": self._Aligner(self)}[name]

    # The features stand for what is made of them: PyTorch's model does all in one.
    def _encoder(self, *, input_features):
        return [input_features]

    def _cross(self, *, encoder_hidden_states):
        return {"present.0.encoder.key": encoder_hidden_states, "present.0.encoder.value": None}

    @dataclass
    class _Aligner:
        bundle: "WhisperBundle"
        input_names: tuple[str, ...] = ("input_ids", "past_key_values.0.encoder.key")

        def __call__(self, *, input_ids, **read):
            return {"cross_attentions": self.bundle.speech.alignment(read[self.input_names[1]], input_ids)}


@pytest.fixture(scope="module")
def pipes(tmp_path_factory):
    """Return both pipelines on one seeded model."""
    folder = tmp_path_factory.mktemp("whisper")
    model, tokenizer = tiny_whisper(seed=1), whisper_tokenizer()
    extractor = transformers.WhisperFeatureExtractor(chunk_length=1)
    tokenizer.save_pretrained(folder)
    extractor.save_pretrained(folder)
    theirs = transformers.pipeline(TASK, model=model, tokenizer=tokenizer, feature_extractor=extractor)
    return theirs, WhisperRecognitionPipeline(WhisperBundle(model, folder), task=TASK)


def assert_same(found, expected):
    assert found["text"] == expected["text"]
    chunks = expected.get("chunks", [])
    assert [c["text"] for c in found.get("chunks", [])] == [c["text"] for c in chunks]
    for mine, other in zip(found.get("chunks", []), chunks, strict=True):
        assert set(mine) == set(other)
        assert mine.get("language") == other.get("language")
        for a, b in zip(mine.get("timestamp", ()), other.get("timestamp", ()), strict=True):
            assert a == b or abs(a - b) < 0.021


CASES = {
    "short": (0.9, {}),
    "beams": (0.9, {"num_beams": 3}),
    "language": (0.9, {"generate_kwargs": {"language": "french"}, "return_language": True}),
    "detected": (0.9, {"return_language": True, "return_timestamps": True}),
    "segments": (0.9, {"return_timestamps": True}),
    "words": (0.7, {"return_timestamps": "word"}),
    "long": (3.3, {"return_timestamps": True}),
    "long-words": (2.5, {"return_timestamps": "word", "task": "translate"}),
    "chunks": (2.5, {"chunk_length_s": 1}),
    "chunks-segments": (2.5, {"chunk_length_s": 0.8, "stride_length_s": (0.2, 0.1), "return_timestamps": True}),
    "chunks-words": (2.5, {"chunk_length_s": 1, "return_timestamps": "word"}),
}


@pytest.mark.parametrize("case", CASES)
def test_results_are_those_of_transformers(pipes, case):
    theirs, ours = pipes
    seconds, options = CASES[case]
    options = {"num_beams": 1, **options}
    expected = theirs(sound(seconds), **copy.deepcopy(options))
    assert_same(ours(sound(seconds), **options), expected)


def test_chunks_of_a_batch_are_those_alone(pipes):
    _, ours = pipes
    options = {"chunk_length_s": 1, "return_timestamps": True, "num_beams": 1}
    recordings = [sound(2.6, seed=1), sound(0.5, seed=2), sound(1.9, seed=3)]
    assert ours(recordings, batch_size=4, **options) == [ours(each, **options) for each in recordings]


def test_beams_are_five_unless_somebody_says_otherwise(pipes):
    _, ours = pipes
    assert ours.config_of({}).num_beams == 5
    assert ours.config_of({"num_beams": 2}).num_beams == 2
    assert (ours.config_of({}).max_new_tokens, ours.config_of({}).max_length) == (None, 32)


def test_a_long_recording_needs_no_word_of_it(pipes):
    _, ours = pipes
    found = ours(sound(3.3), num_beams=1)
    assert found == {"text": ours(sound(3.3), return_timestamps=True, num_beams=1)["text"]}


def test_other_keys_of_the_input_come_back(pipes):
    _, ours = pipes
    found = ours({"raw": sound(0.9), "sampling_rate": 16000, "speaker": 3}, num_beams=1)
    assert found["speaker"] == [3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"return_timestamps": "char"}, "'word' for words"),
        ({"language": "frensh"}, "french"),
        ({"task": "summarize"}, "translate"),
        ({"chunk_length_s": 40}, "hears 1 seconds"),
        ({"generate_kwargs": {"forced_decoder_ids": [[1, 2]]}}, "language= and task="),
        ({"num_beams": 0}, "num_beams"),
        ({"no_speech_threshold": 0.5}, "logprob_threshold"),
        ({"langage": "fr"}, "langage"),
    ],
)
def test_what_cannot_be_right_is_refused(pipes, options, message):
    _, ours = pipes
    with pytest.raises(UsageError, match=re.escape(message)):
        ours(sound(0.9), **options)


def speech(seconds):
    """Return sentences spoken by espeak-ng, float32 [samples] at 16 kHz."""
    import ctypes

    espeak = pytest.importorskip("espeakng_loader")
    soxr = pytest.importorskip("soxr")
    library, found = ctypes.CDLL(espeak.get_library_path()), []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def hear(samples, count, _):
        if samples and count:
            found.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    rate = library.espeak_Initialize(2, 0, espeak.get_data_path().encode(), 0)
    library.espeak_SetVoiceByName(b"en-us")
    library.espeak_SetSynthCallback(hear)
    for sentence in SENTENCES * 4:
        text = sentence.encode() + b"\0"
        library.espeak_Synth(text, len(text), 0, 0, 0, 1, None, None)
        library.espeak_Synchronize()
    heard = np.concatenate(found).astype(np.float32) / 32768
    return soxr.resample(heard, rate, 16000).astype(np.float32)[: seconds * 16000]


SENTENCES = (
    "The train to London leaves from platform nine every hour.",
    "It was a cold morning in the city, and the streets were empty.",
    "Please remember to call the doctor before five o'clock.",
    "My sister bought three apples, two oranges and a loaf of bread.",
    "In winter the lake freezes, and people skate on the ice.",
    "Nobody knew why the old house on the hill was empty.",
)
FALLBACK = {"compression_ratio_threshold": 1.35, "logprob_threshold": -1.0, "no_speech_threshold": 0.6}
REAL = {
    "short": (12, {"num_beams": 1}),
    "short-beams": (12, {}),
    "short-words": (12, {"return_timestamps": "word"}),
    "segments": (28, {"return_timestamps": True, "num_beams": 1}),
    "long": (75, {"return_timestamps": True, "num_beams": 1}),
    "long-words": (75, {"return_timestamps": "word", "num_beams": 1}),
    "long-guarded": (
        75,
        {
            "return_timestamps": True,
            "num_beams": 1,
            "generate_kwargs": {**FALLBACK, "condition_on_prev_tokens": True, "temperature": (0.0,)},
        },
    ),
    "chunks": (75, {"chunk_length_s": 30, "num_beams": 1}),
    "chunks-segments": (75, {"chunk_length_s": 20, "return_timestamps": True, "num_beams": 1}),
    "chunks-words": (75, {"chunk_length_s": 30, "return_timestamps": "word", "num_beams": 1}),
    "silence": (0, {"num_beams": 1}),
}


@pytest.fixture(scope="module")
def real_pipes(tmp_path_factory):
    if not CHECKPOINT:
        pytest.skip("VITRIFY_WHISPER_TINY_EN names no checkpoint folder")
    theirs = transformers.pipeline(TASK, CHECKPOINT)
    folder = tmp_path_factory.mktemp("tiny_en")
    theirs.tokenizer.save_pretrained(folder)
    theirs.feature_extractor.save_pretrained(folder)
    assert Path(CHECKPOINT).is_dir()
    return theirs, WhisperRecognitionPipeline(WhisperBundle(theirs.model, folder), task=TASK)


@pytest.mark.slow
@pytest.mark.parametrize("case", REAL)
def test_real_transcripts_are_those_of_transformers(real_pipes, case):
    theirs, ours = real_pipes
    seconds, options = REAL[case]
    heard = speech(seconds) if seconds else np.zeros(8 * 16000, np.float32)
    with torch.inference_mode():
        expected = theirs(heard.copy(), **copy.deepcopy(options))
    assert_same(ours(heard, **options), expected)
