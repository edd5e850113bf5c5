"""generate_kwargs and the arguments beside it: which counts, as in the task of transformers."""

import pytest

from vitrify.runtime.errors import UsageError
from vitrify.runtime.pipelines.image_to_text import ImageToTextParameters
from vitrify.runtime.pipelines.speech.ctc import CTCRecognitionParameters
from vitrify.runtime.pipelines.speech.parameters import RecognitionParameters
from vitrify.runtime.pipelines.speech.whisper import WhisperParameters

SPEECH = [RecognitionParameters, CTCRecognitionParameters, WhisperParameters]
TWICE = {"num_beams": 2, "generate_kwargs": {"num_beams": 4, "max_new_tokens": 5}}


def generation(parameters):
    return dict(getattr(parameters, "generation", None) or parameters.generate_kwargs)


@pytest.mark.parametrize("kind", [*SPEECH, ImageToTextParameters])
def test_the_call_is_over_the_pipeline_however_each_says_it(kind):
    made = kind().updated("task", {"num_beams": 2, "generate_kwargs": {"max_new_tokens": 5}})
    assert generation(made) == {"num_beams": 2, "max_new_tokens": 5}
    assert generation(made.updated("task", {"generate_kwargs": {"num_beams": 4}}))["num_beams"] == 4
    assert generation(made.updated("task", {"max_new_tokens": 6}))["max_new_tokens"] == 6
    assert generation(made.updated("task", {"generate_kwargs": None})) == generation(made)


@pytest.mark.parametrize("kind", SPEECH)
def test_in_speech_recognition_the_argument_by_itself_wins(kind):
    assert generation(kind().updated("task", TWICE)) == {"num_beams": 2, "max_new_tokens": 5}


def test_in_image_to_text_an_argument_given_twice_is_refused():
    with pytest.raises(UsageError, match="'task' got 'num_beams' twice: by itself and in generate_kwargs"):
        ImageToTextParameters().updated("task", TWICE)
    with pytest.raises(UsageError, match="unknown generation argument 'prompt' in generate_kwargs"):
        ImageToTextParameters().updated("task", {"prompt": "a", "generate_kwargs": {"prompt": "b"}})


@pytest.mark.parametrize("kind", [*SPEECH, ImageToTextParameters])
@pytest.mark.parametrize("given", ["num_beams", 3, [("num_beams", 2)]])
def test_generate_kwargs_are_a_mapping(kind, given):
    with pytest.raises(UsageError, match="generate_kwargs must be a dict, got a"):
        kind().updated("task", {"generate_kwargs": given})
