"""The tiny checkpoints that generate are reactive, quiet, and decode to more than one token over and over."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoTokenizer, GenerationConfig, GenerationMixin

from tests.checkpoints import GENERATIVE_HEADS, GENERATIVE_PAIRS, GENERATORS, make_checkpoint

REACTION = 0.01  # 100 times the tolerance of cpu-fp32 parity
NOISE = 2e-5
LARGEST = 50.0
STEPS = 64
VARIETY = 10  # distinct tokens among those of 64 greedy steps
LOOPING = {"marian": 4, "m2m_100": 5, "speech_to_text": 5}  # sinusoids say less of a position than drawn tables
TEXT = "The quick brown fox jumps over the lazy dog in London, and nobody was surprised."
OTHER_TEXT = "What is the capital of France? Paris was the capital, he said, and then he went."
QUICK = ("gpt2", "mistral", "gemma3_text", "t5", "marian", "whisper", "wav2vec2", "trocr", "pix2struct")
PAIRS = tuple(pytest.param(*pair, marks=() if pair[0] in QUICK else pytest.mark.slow) for pair in GENERATIVE_PAIRS)
DECODING = tuple(pair for pair in PAIRS if pair.values[1] != "ctc")
WINDOWED = ("mistral", "gemma2", "gemma3_text", "starcoder2", "gpt_neo")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_every_row_names_heads_that_transformers_has():
    for name, row in GENERATORS.items():
        assert row.heads
        assert all((row.model_type or name) in GENERATIVE_HEADS[head].architectures for head in row.heads)


@pytest.mark.parametrize(("model_type", "head"), PAIRS)
def test_outputs_react_to_the_input_and_stay_quiet(model_type, head, tmp_path):
    folder = make_checkpoint(model_type, head, tmp_path)
    model, inputs, others = _model(head, folder), _inputs(head, folder, seed=0), _inputs(head, folder, seed=1)
    reference, moved = _logits(model, inputs), _logits(model, others)
    assert np.isfinite(reference).all()
    assert np.abs(reference).max() < LARGEST
    assert np.abs(reference - moved).max() > REACTION
    model.set_attn_implementation("eager")
    assert np.abs(reference - _logits(model, inputs)).max() < NOISE


@pytest.mark.parametrize(("model_type", "head"), DECODING)
def test_greedy_decoding_visits_many_tokens(model_type, head, tmp_path):
    folder = make_checkpoint(model_type, head, tmp_path)
    model, inputs = _model(head, folder), _inputs(head, folder, seed=0)
    if "input_ids" in inputs:
        ids = _ids(folder, TEXT)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    published = model.generation_config
    assert published.eos_token_id is not None
    assert (published.decoder_start_token_id is not None) == (head != "causal-lm")
    plain = GenerationConfig(decoder_start_token_id=published.decoder_start_token_id, pad_token_id=0)
    tokens = GenerationMixin.generate(model, **inputs, generation_config=plain, max_new_tokens=STEPS, do_sample=False)
    new = tokens[0, -STEPS:].tolist()
    assert len(set(new)) >= LOOPING.get(model_type, VARIETY)
    assert new[0] != published.eos_token_id


@pytest.mark.parametrize("model_type", WINDOWED)
def test_the_window_hides_what_is_far(model_type, tmp_path):
    """Without it the outputs are others, so that a graph that forgets the window is noticed."""
    model = _model("causal-lm", make_checkpoint(model_type, "causal-lm", tmp_path))
    inputs = _inputs("causal-lm", tmp_path, seed=0)
    windowed = _logits(model, inputs)
    sizes = {"window_size": 128} if model_type == "gpt_neo" else {"sliding_window": 128}
    wide = GENERATIVE_HEADS["causal-lm"].auto_class.from_pretrained(tmp_path, local_files_only=True, **sizes).eval()
    assert np.abs(windowed - _logits(wide, inputs)).max() > REACTION


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for model_type, head in (("llama", "causal-lm"), ("marian", "seq2seq-lm"), ("whisper", "speech-seq2seq")):
        first, again = (make_checkpoint(model_type, head, tmp_path / model_type / name) for name in ("first", "again"))
        assert {file.name: file.read_bytes() for file in first.iterdir()} == {
            file.name: file.read_bytes() for file in again.iterdir()
        }


def _model(head: str, folder: Path):
    auto_class = GENERATIVE_HEADS[head].auto_class
    return auto_class.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()


def _inputs(head: str, folder: Path, *, seed: int):
    if head == "image-to-text":
        return _picture(folder, seed=seed)
    if head in ("speech-seq2seq", "ctc"):
        return _noise(folder, seed=seed)
    return {"input_ids": _ids(folder, OTHER_TEXT if seed else TEXT)[:, :24]}


def _ids(folder: Path, text: str):
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)(text, return_tensors="pt")["input_ids"]


def _picture(folder: Path, *, seed: int):
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return dict(processor(pixels.repeat(6, 0).repeat(6, 1), return_tensors="pt"))


def _noise(folder: Path, *, seed: int):
    extractor = AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
    samples = 0.1 * np.random.default_rng(seed).standard_normal(16_000)
    return dict(extractor(samples.astype(np.float32), sampling_rate=16_000, return_tensors="pt"))


@cache
def _decoder_ids(count: int):
    return torch.arange(5, 25)[None].expand(count, -1)


def _logits(model, inputs) -> np.ndarray:
    rows = len(next(iter(inputs.values())))
    decoder = {"decoder_input_ids": _decoder_ids(rows)} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model(**inputs, **decoder).logits.numpy()
