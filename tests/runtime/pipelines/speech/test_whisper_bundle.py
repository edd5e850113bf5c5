"""Whisper's settings, those of its model cards, on a bundle that was exported by its task, beside transformers."""

import copy
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers

from tests.checkpoints import make_checkpoint
from tests.sounds import sound
from vitrify import export_bundle, pipeline
from vitrify.runtime.errors import UsageError

TASK = "automatic-speech-recognition"
# openai/whisper-large-v3's, where greedy search alone can be compared; its window has 448 positions, this one 128.
CARD = {
    "max_new_tokens": 60,
    "num_beams": 1,
    "condition_on_prev_tokens": False,
    "compression_ratio_threshold": 1.35,
    "temperature": (0.0,),
    "logprob_threshold": -1.0,
    "no_speech_threshold": 0.6,
    "return_timestamps": True,
}
HOTTER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
CONTENT = {"compression_ratio_threshold": 100.0, "logprob_threshold": -100.0}
GREEDY = {"num_beams": 1, "max_new_tokens": 30}
CASES = {
    "card": (0.9, CARD),
    "card-long": (3.3, CARD),
    "card-conditioned": (3.3, {**CARD, **CONTENT, "condition_on_prev_tokens": True}),
    "card-content": (3.3, {**CARD, **CONTENT, "temperature": HOTTER}),
    "card-silence": (3.3, {**CARD, "no_speech_threshold": 1e-9}),
    "logprobs": (0.9, {**GREEDY, "logprob_threshold": -1.0, "temperature": 0.0}),
    "compression": (0.9, {**GREEDY, "compression_ratio_threshold": 1.0, "temperature": (0.0,)}),
    "segments": (0.9, {**GREEDY, "return_timestamps": True}),
    "words": (0.9, {**GREEDY, "return_timestamps": "word"}),
    "no-times": (0.9, {**GREEDY, "return_timestamps": False}),
    "translation": (0.9, {**GREEDY, "task": "translate", "language": "french"}),
    "task": (0.9, {**GREEDY, "task": "transcribe"}),
    "beams": (0.9, {**CARD, **CONTENT, "num_beams": 3}),
    "prompt": (0.9, {**GREEDY, "prompt_ids": [5, 40, 41, 42]}),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whisper")
    checkpoint = make_checkpoint("whisper", "speech-seq2seq", folder / "checkpoint")
    export_bundle(checkpoint, folder / "bundle", task=TASK)
    theirs = transformers.pipeline(TASK, str(checkpoint), device="cpu")
    return SimpleNamespace(theirs=theirs, ours=pipeline(TASK, folder / "bundle"))


def as_theirs(settings):
    given = copy.deepcopy(settings)
    return given | {name: torch.tensor(given[name]) for name in ("prompt_ids",) if name in given}


@pytest.mark.parametrize("case", CASES)
def test_settings_in_generate_kwargs_give_what_transformers_gives(made, case):
    seconds, settings = CASES[case]
    expected = made.theirs(sound(seconds), generate_kwargs=as_theirs(settings))
    assert made.ours(sound(seconds), generate_kwargs=settings) == expected


@pytest.mark.parametrize("timestamps", [True, "word"])
def test_what_the_call_says_of_times_wins(made, timestamps):
    settings = {**GREEDY, "return_timestamps": False}
    given = {"return_timestamps": timestamps, "generate_kwargs": settings}
    expected = made.theirs(sound(0.9), **copy.deepcopy(given))
    assert expected["chunks"]
    found = made.ours(sound(0.9), **given)
    assert found["text"] == expected["text"]
    assert [chunk["text"] for chunk in found["chunks"]] == [chunk["text"] for chunk in expected["chunks"]]


def test_recordings_of_a_batch_are_those_alone(made):
    recordings = [sound(0.9), sound(2.3, seed=1), np.zeros(8000, np.float32)]
    together = made.ours(recordings, batch_size=3, generate_kwargs=CARD)
    assert together == [made.ours(each, generate_kwargs=CARD) for each in recordings]


def test_rows_that_fail_are_tried_hotter_alone(made):
    """A retry selects rows of what the encoder gave before a token was appended."""
    recordings = [sound(0.9, seed=seed) for seed in range(3)]
    hotter = {**CARD, "temperature": HOTTER, "seed": 0}
    found = made.ours(recordings, batch_size=3, generate_kwargs=hotter)
    assert len(found) == 3
    assert all(set(each) == {"text"} for each in found)
    cold = [made.ours(each, generate_kwargs=CARD) for each in recordings]
    assert found != cold  # noise is doubtful


def test_all_positions_may_be_asked_for(made):
    """Model cards do, and transformers refuses it: there is no room for what the answer begins with."""
    settings = {"num_beams": 1, "temperature": (0.0,)}
    everything = made.ours(sound(0.9), generate_kwargs={**settings, "max_new_tokens": 128})
    assert everything == made.ours(sound(0.9), generate_kwargs={**settings, "max_new_tokens": 125})
    with pytest.raises(
        UsageError, match="max_new_tokens=129 after a prompt of 3 tokens does not fit the 128 positions"
    ):
        made.ours(sound(0.9), generate_kwargs={**settings, "max_new_tokens": 129})


def test_times_of_letters_are_refused(made):
    with pytest.raises(UsageError, match="return_timestamps='char'"):
        made.ours(sound(0.9), generate_kwargs={"return_timestamps": "char"})


def test_a_folder_of_others_runs_by_its_task(made, tmp_path):
    folder = tmp_path / "others"
    shutil.copytree(made.ours.bundle.bundle.folder, folder, ignore=shutil.ignore_patterns("bundle.json", "parity"))
    for path in (folder / "onnx").iterdir():
        if not path.name.startswith(("encoder_model.", "decoder_model_merged.")):
            path.unlink()
    for settings in (CARD, {**GREEDY, "return_timestamps": True}):
        assert pipeline(TASK, folder)(sound(0.9), generate_kwargs=settings) == made.ours(
            sound(0.9), generate_kwargs=settings
        )
