"""Speech recognition with CTC models beside transformers.pipeline: same text, same chunks, same times."""

import io
import json
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from transformers.pipelines.pt_utils import KeyDataset

from tests.parity.speech_subjects import RATE, SHORTEST, TYPES, make_pair, speech
from vitrify.runtime.errors import UnsupportedError, UsageError
from vitrify.runtime.pipelines.automatic_speech_recognition import AutomaticSpeechRecognitionPipeline
from vitrify.runtime.pipelines.speech.ctc import LONGEST_AT_ONCE_S, CTCRecognitionPipeline

TASK = "automatic-speech-recognition"
SOUND = speech(1.37)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Return a function from a type to (ours, transformers'), made once."""
    made = {}
    torch.set_num_threads(1)

    def get(model_type, **options):
        key = (model_type, *options)
        if key not in made:
            made[key] = make_pair(model_type, tmp_path_factory.mktemp(model_type), **options)
        bundle, theirs = made[key]
        return AutomaticSpeechRecognitionPipeline(bundle, task=TASK), theirs

    return get


@pytest.fixture
def ours(pair):
    return pair("wav2vec2")[0]


def test_the_head_chooses_the_class(ours):
    assert type(ours) is CTCRecognitionPipeline
    with pytest.raises(UnsupportedError, match=r"head 'base' \(there is: ctc"):
        AutomaticSpeechRecognitionPipeline(SimpleNamespace(bundle=SimpleNamespace(head="base")), task=TASK)


@pytest.mark.parametrize(
    "options",
    [
        {"ignore_warning": True},
        {"decoder_kwargs": {}},
        {"max_new_tokens": 5, "num_beams": 2, "generate_kwargs": {"do_sample": True}},
    ],
    ids=str,
)
def test_arguments_of_other_models_change_nothing(pair, options):
    ours, theirs = pair("wav2vec2")
    assert ours(SOUND, **options) == theirs(SOUND.copy(), **options) == ours(SOUND)


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"return_timestamps": "char"},
        {"return_timestamps": "word"},
        {"chunk_length_s": 0.3, "return_timestamps": "word"},
        {"chunk_length_s": 0.3, "stride_length_s": 0.04},
        {"chunk_length_s": 0.31, "stride_length_s": (0.04, 0.021), "return_timestamps": "char"},
        {"chunk_length_s": 0.2, "stride_length_s": [0.05, 0], "return_timestamps": "char"},
        {"chunk_length_s": 0.25, "stride_length_s": 0},
        {"chunk_length_s": 5, "return_timestamps": "char"},
    ],
    ids=str,
)
def test_text_and_times_are_the_same(pair, model_type, options):
    ours, theirs = pair(model_type)
    expected = theirs(SOUND, **options)
    assert len(expected["text"].split()) > 10
    assert ours(SOUND, **options) == expected


@pytest.mark.parametrize("model_type", ["wav2vec2", "hubert"])
@pytest.mark.parametrize("length", [SHORTEST, 400, 4799, 4800, 4801, 8000, 8001, 21_999])
def test_every_length_gives_the_same_chunks(pair, model_type, length):
    ours, theirs = pair(model_type)
    options = {"chunk_length_s": 0.3, "return_timestamps": "char"}
    assert ours(SOUND[:length], **options) == theirs(SOUND[:length], **options)


def test_a_graph_with_a_mask_gets_one(pair):
    ours, theirs = pair("hubert", takes_mask=True)
    options = {"chunk_length_s": 0.3, "return_timestamps": "word"}
    assert ours(SOUND, **options) == theirs(SOUND, **options)


def test_times_are_plain_floats(ours):
    result = ours(SOUND, return_timestamps="char", chunk_length_s=0.3)
    json.dumps(result)
    assert type(result) is dict
    assert {type(time) for chunk in result["chunks"] for time in chunk["timestamp"]} == {float}


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_results_do_not_depend_on_the_batch(pair, batch_size):
    ours, theirs = pair("wav2vec2")
    sounds = [speech(0.7, seed=1), speech(1.0, seed=2), speech(0.7, seed=3)]
    for options in ({}, {"chunk_length_s": 0.3, "return_timestamps": "word"}):
        expected = [theirs(sound, **options) for sound in sounds]
        assert ours(sounds, batch_size=batch_size, **options) == expected
    ours.bundle.runs.clear()
    ours(sounds, batch_size=batch_size, chunk_length_s=0.3)
    assert (max(rows for rows, _ in ours.bundle.runs) > 1) == (batch_size > 1)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_data_sets(pair, batch_size):
    ours, theirs = pair("wav2vec2")
    sounds = KeyDataset([{"audio": speech(0.7, seed=seed)} for seed in range(3)], "audio")  # pyright: ignore[reportArgumentType]
    results = ours(sounds, batch_size=batch_size)
    assert len(results) == 3
    assert list(results) == list(theirs(sounds))


def test_an_open_file_is_one_input(ours, tmp_path):
    soundfile.write(tmp_path / "sound.wav", SOUND, RATE)
    expected = ours(str(tmp_path / "sound.wav"))
    with (tmp_path / "sound.wav").open("rb") as file:
        assert ours(file) == expected
    assert ours([io.BytesIO((tmp_path / "sound.wav").read_bytes())]) == [expected]
    with (tmp_path / "sound.wav").open() as text, pytest.raises(UsageError, match="open it with mode 'rb'"):
        ours(text)


@pytest.mark.parametrize("key", ["raw", "array"])
def test_a_mapping_with_its_stride_and_extras(pair, key):
    ours, theirs = pair("wav2vec2")
    given = {key: SOUND, "sampling_rate": RATE, "stride": (1600, 2400), "speaker": 3}
    expected = theirs(dict(given))
    assert expected["speaker"] == [3]
    result = ours(given)
    assert set(given) == {key, "sampling_rate", "stride", "speaker"}
    assert result == expected
    assert len(result["text"]) < len(ours(SOUND)["text"])


def test_extras_come_once_for_each_chunk(pair):
    ours, theirs = pair("wav2vec2")
    given = {"array": SOUND, "path": "a.wav", "sampling_rate": RATE, "speaker": "x"}
    expected = theirs(dict(given), chunk_length_s=0.5)
    assert ours(given, chunk_length_s=0.5) == expected
    assert len(expected["speaker"]) > 1


def test_a_stride_counts_in_samples_of_the_source(ours):
    at_once = ours({"raw": SOUND, "sampling_rate": RATE, "stride": (1600, 2400)})
    doubled = ours({"raw": np.repeat(SOUND, 2), "sampling_rate": 2 * RATE, "stride": (3200, 4800)})
    assert abs(len(at_once["text"]) - len(doubled["text"])) < len(at_once["text"]) / 5


def test_a_recording_comes_in_any_form(ours, tmp_path):
    path = tmp_path / "sound.wav"
    soundfile.write(path, SOUND, RATE, subtype="FLOAT")
    expected = ours(SOUND)
    stereo = np.stack([SOUND, SOUND])
    forms = [
        str(path),
        path,
        path.read_bytes(),
        stereo,
        SOUND.astype(np.float64),
        {"raw": SOUND, "sampling_rate": RATE},
    ]
    for form in forms:
        assert ours(form) == expected
    assert ours(forms) == [expected] * len(forms)
    assert next(ours(iter([path]))) == expected
    assert ours(inputs=path) == expected


def test_silence_gives_the_text_of_silence(pair):
    ours, theirs = pair("wav2vec2")
    silence = np.zeros(RATE // 2, np.float32)
    assert ours(silence, return_timestamps="word") == theirs(silence, return_timestamps="word")


def test_a_rest_too_short_for_a_frame_is_left_out(ours):
    """transformers runs it, and its convolutions fail."""
    options = {"chunk_length_s": 0.3, "stride_length_s": 0}
    assert ours(SOUND[: 4800 + SHORTEST - 1], **options) == ours(SOUND[:4800], **options)


@pytest.mark.parametrize(
    ("sound", "options", "words"),
    [
        (SOUND[: SHORTEST - 1], {}, f"at least {SHORTEST}"),
        (SOUND[:0], {}, "no samples"),
        (np.zeros((3, 100), np.float32), {}, "shape"),
        ("no-such-file.wav", {}, "no audio file 'no-such-file.wav'"),
        (None, {}, "expects audio"),
        ([0.1, 0.2], {}, "cannot be a float"),
        ({"raw": SOUND}, {}, "sampling_rate"),
        ({"raw": SOUND, "sampling_rate": RATE, "text": "hello"}, {}, "'text' would replace"),
        ({"raw": SOUND, "sampling_rate": RATE, "stride": (20_000, 20_000)}, {}, "longer than the audio"),
        ({"raw": SOUND, "sampling_rate": RATE, "stride": -1}, {}, "stride must be"),
        ({"raw": SOUND, "sampling_rate": RATE, "stride": (1, 1)}, {"chunk_length_s": 1}, "leave out"),
        (SOUND, {"return_timestamps": True}, "'char', 'word'"),
        (SOUND, {"return_timestamps": "segment"}, "'char', 'word'"),
        (SOUND, {"chunk_length_s": -1}, "chunk_length_s"),
        (SOUND, {"chunk_length_s": "30"}, "chunk_length_s"),
        (SOUND, {"chunk_length_s": 1, "stride_length_s": (1, 2, 3)}, "stride_length_s"),
        (SOUND, {"chunk_length_s": 1, "stride_length_s": 0.5}, "longer than its overlap"),
        (SOUND, {"timeout": 0}, "timeout"),
        (SOUND, {"return_language": True}, "only Whisper can tell it"),
        (SOUND, {"max_new_token": 5}, "unknown argument 'max_new_token'"),
    ],
)
def test_what_is_no_audio_or_no_argument_is_refused(ours, sound, options, words):
    with pytest.raises(UsageError, match=words):
        ours(sound, **options)


def test_timestamps_can_be_switched_off(ours):
    assert set(ours(SOUND, return_timestamps=False)) == {"text"}


def test_a_long_recording_needs_chunks(ours):
    long = np.broadcast_to(np.float32(0), (LONGEST_AT_ONCE_S * RATE + 1,))
    ours.bundle.runs.clear()
    with pytest.raises(UsageError, match=f"longer than {LONGEST_AT_ONCE_S} s.*chunk_length_s=30"):
        ours(long)
    assert not ours.bundle.runs


class Constant:
    """A bundle of a real model's stride that answers at once; it counts samples and keeps nothing."""

    def __init__(self, bundle):
        self.__dict__ |= vars(bundle) | {"tokenizer": bundle.tokenizer, "speech_processor": bundle.speech_processor}
        self.config = {"conv_stride": [320]}
        self.samples = 0

    def run_rows(self, rows):
        self.samples += sum(len(row["input_values"]) for row in rows)
        frames = [len(row["input_values"]) // 320 for row in rows]
        return [{"logits": np.eye(1, 32, 5, dtype=np.float32).repeat(count, 0)} for count in frames]


def test_two_hours_take_no_more_memory_than_some_chunks(ours, tmp_path):
    path, samples = tmp_path / "long.wav", 7200 * RATE
    soundfile.write(path, np.zeros(0, np.int16), RATE)
    header = bytearray(path.read_bytes())
    header[4:8], header[40:44] = (size.to_bytes(4, "little") for size in (36 + 2 * samples, 2 * samples))
    path.write_bytes(header)
    with path.open("r+b") as stream:
        stream.truncate(len(header) + 2 * samples)  # sparse: two hours of silence that take no space
    bundle = Constant(ours.bundle)
    pipe = AutomaticSpeechRecognitionPipeline(bundle, task=TASK, chunk_length_s=30, stride_length_s=0, batch_size=2)
    tracemalloc.start()
    try:
        result = pipe(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (bundle.samples, result) == (samples, {"text": "E"})
    assert peak < 32 * 2**20  # all samples are 460 MB
