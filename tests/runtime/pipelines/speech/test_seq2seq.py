"""Speech recognition with an encoder-decoder that is no Whisper, against transformers' pipeline."""

import numpy as np
import pytest
import torch
import transformers

from tests.fakes import FakeBundle
from tests.runtime.generation.torch_speech import TorchSpeechDecoding
from tests.tiny_models import tiny_moonshine, whisper_tokenizer
from vitrify.runtime.errors import UsageError
from vitrify.runtime.pipelines.speech.seq2seq import Seq2SeqRecognitionPipeline

TASK = "automatic-speech-recognition"


class MoonshineDecoding(TorchSpeechDecoding):
    """The decoder of a Moonshine, whose output layer and limit have other names."""

    def __init__(self, model, encoded):
        model.config.max_target_positions = model.config.max_position_embeddings
        super().__init__(model, encoded)


class MoonshineBundle(FakeBundle):
    """A bundle whose graphs are a PyTorch model."""

    def __init__(self, model, folder):
        self.model = model
        says = {"config": model.config.to_dict(), "generation_config": model.generation_config.to_dict()}
        super().__init__(name="moonshine", folder=folder, **says)

    @torch.no_grad()
    def decoding(self, *, input_values, attention_mask):
        assert attention_mask.all(), "this fake reads no mask"
        return MoonshineDecoding(self.model, self.model.model.encoder(torch.from_numpy(input_values)).last_hidden_state)


@pytest.fixture(scope="module")
def pipes(tmp_path_factory):
    folder, tokenizer = tmp_path_factory.mktemp("moonshine"), whisper_tokenizer()
    model = tiny_moonshine(tokenizer)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    tokenizer.save_pretrained(folder)
    extractor.save_pretrained(folder)
    theirs = transformers.pipeline(TASK, model=model, tokenizer=tokenizer, feature_extractor=extractor)
    return theirs, Seq2SeqRecognitionPipeline(MoonshineBundle(model, folder), task=TASK)


def sound(seconds, seed=0):
    return np.random.default_rng(seed).normal(size=int(seconds * 16000)).astype(np.float32) * 0.2


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 1, "max_new_tokens": 12},
        {"max_new_tokens": 12},
    ],
)
def test_texts_are_those_of_transformers(pipes, options):
    theirs, ours = pipes
    found = ours(sound(1.2), **options)
    assert found == theirs(sound(1.2), **options)
    assert found["text"]


@pytest.mark.parametrize(
    "options", [{"return_timestamps": True}, {"return_timestamps": "word"}, {"return_language": True}]
)
def test_what_only_whisper_tells_is_refused(pipes, options):
    _, ours = pipes
    with pytest.raises(UsageError, match="only Whisper"):
        ours(sound(0.5), **options)


def test_chunks_are_joined_where_they_overlap(pipes):
    _, ours = pipes
    constant = np.zeros(19200, np.float32)  # of which every chunk says the same
    once = ours(constant[:8000], num_beams=1, max_new_tokens=6)["text"]
    joined = ours(constant, chunk_length_s=0.5, stride_length_s=0.1, num_beams=1, max_new_tokens=6)["text"]
    assert once
    assert joined.startswith(once)
    assert len(joined) < 2 * len(once)
