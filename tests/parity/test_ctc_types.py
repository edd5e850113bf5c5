"""Every CTC type: exported, verified on audio of many lengths, and compared with transformers.pipeline."""

import pytest
import transformers

import vitrify
from tests.checkpoints import GENERATIVE_PAIRS
from tests.parity.speech_subjects import speech
from tests.parity.tested_types import parametrized

TASK = "automatic-speech-recognition"
TOLERANCE = 1e-4


@pytest.mark.parametrize(("model_type", "head"), parametrized(pair for pair in GENERATIVE_PAIRS if pair[1] == "ctc"))
def test_the_bundle_is_the_same_model(model_type, head, tmp_path, export_type):
    checkpoint, report = export_type(model_type, head)
    assert report.passed
    assert report.profiles["cpu-fp32"]["worst"]["difference"] <= TOLERANCE
    assert report.bundle.tasks == (TASK,)
    sound, options = speech(1.37), {"chunk_length_s": 0.3, "return_timestamps": "word"}
    expected = transformers.pipeline(TASK, model=str(checkpoint), device="cpu")(sound, **options)
    assert expected["text"]
    assert vitrify.pipeline(TASK, tmp_path / "bundle")(sound, **options) == expected
