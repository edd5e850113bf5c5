"""Speech recognition with an encoder-decoder that is no Whisper, against transformers' pipeline."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers

from tests.checkpoints import Spread, spread_weights
from tests.runtime.generation.tiny_whisper import TorchSpeechDecoding, tiny_tokenizer
from vitrify.runtime.errors import UsageError
from vitrify.runtime.pipelines.speech.seq2seq import Seq2SeqRecognitionPipeline
from vitrify.runtime.processing.audio.features import SpeechProcessor
from vitrify.runtime.processing.text.tokenizer import Tokenizer

TASK = "automatic-speech-recognition"


class MoonshineDecoding(TorchSpeechDecoding):
    """The decoder of a Moonshine, whose output layer and limit have other names."""

    def __init__(self, model, encoded):
        model.config.max_target_positions = model.config.max_position_embeddings
        super().__init__(model, encoded)


class FakeBundle:
    def __init__(self, model, folder):
        self.model = model
        self.config, self.generation_config = model.config.to_dict(), model.generation_config.to_dict()
        self.tokenizer = Tokenizer.from_folder(folder)
        self.speech_processor = SpeechProcessor.from_folder(folder)
        self.name, self.profile = "moonshine", SimpleNamespace(name="fake")

    @torch.no_grad()
    def decoding(self, *, input_values, attention_mask):
        assert attention_mask.all(), "this fake reads no mask"
        return MoonshineDecoding(self.model, self.model.model.encoder(torch.from_numpy(input_values)).last_hidden_state)


@pytest.fixture(scope="module")
def pipes(tmp_path_factory):
    folder, tokenizer = tmp_path_factory.mktemp("moonshine"), tiny_tokenizer()
    end = tokenizer.eos_token_id
    config = transformers.MoonshineConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        encoder_num_hidden_layers=1,
        decoder_num_hidden_layers=1,
        encoder_num_attention_heads=2,
        decoder_num_attention_heads=2,
        max_position_embeddings=64,
        decoder_start_token_id=5,
        bos_token_id=5,
        eos_token_id=end,
        pad_token_id=end,
    )
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = transformers.MoonshineForConditionalGeneration(config).eval()
        spread_weights(model, Spread())
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    tokenizer.save_pretrained(folder)
    extractor.save_pretrained(folder)
    theirs = transformers.pipeline(TASK, model=model, tokenizer=tokenizer, feature_extractor=extractor)
    return theirs, Seq2SeqRecognitionPipeline(FakeBundle(model, folder), task=TASK)


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
