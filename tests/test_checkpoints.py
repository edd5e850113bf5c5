"""The tiny checkpoints are complete, loadable and reactive: a lost mask or a swapped input must not go unnoticed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoTokenizer

from tests.checkpoints import HEADS, PAIRS, TYPES, make_checkpoint

REACTION = 0.01  # 100 times the tolerance of cpu-fp32 parity
NOISE = 2e-5
LARGEST = 50.0
TEXTS = (
    "The quick brown fox jumps over the lazy dog in London, and nobody was surprised.",
    "My name is Sarah and I live here",
)
OTHER_TEXTS = ("What is the capital of France? Paris was the capital, he said, and then he went.", "This film was good")
ONE_EACH = tuple((model_type, row.heads[1]) for model_type, row in TYPES.items())
OTHERS = tuple(pytest.param(*pair, marks=pytest.mark.slow) for pair in PAIRS if pair not in ONE_EACH)
TEXT_PAIRS = tuple(pair for pair in ONE_EACH if TYPES[pair[0]].tokenizer)
OTHER_TEXT_PAIRS = tuple(pair for pair in OTHERS if TYPES[pair.values[0]].tokenizer)


@pytest.mark.parametrize("model_type", TYPES)
def test_every_head_that_transformers_has_is_listed(model_type):
    assert set(TYPES[model_type].heads) == {name for name, head in HEADS.items() if model_type in head.architectures}


@pytest.mark.parametrize(("model_type", "head"), [*ONE_EACH, *OTHERS])
def test_outputs_react_to_the_input_and_stay_sane(model_type, head, tmp_path):
    folder = make_checkpoint(model_type, head, tmp_path)
    inputs, others = _inputs(model_type, folder)
    reference, moved = _outputs(head, folder, inputs), _outputs(head, folder, others)
    for name, output in reference.items():
        assert np.isfinite(output).all()
        assert np.abs(output).max() < LARGEST
        assert np.abs(output - moved[name]).max() > REACTION, name


@pytest.mark.parametrize(("model_type", "head"), [*TEXT_PAIRS, *OTHER_TEXT_PAIRS])
def test_a_dropped_attention_mask_moves_the_valid_rows(model_type, head, tmp_path):
    folder = make_checkpoint(model_type, head, tmp_path)
    inputs, _ = _inputs(model_type, folder)
    valid = inputs["attention_mask"].numpy().astype(bool)
    unmasked = {**inputs, "attention_mask": torch.ones_like(inputs["attention_mask"])}
    reference, moved = _outputs(head, folder, inputs), _outputs(head, folder, unmasked)
    for name, output in reference.items():
        assert np.abs(_valid(output, valid) - _valid(moved[name], valid)).max() > REACTION, name


@pytest.mark.parametrize(("model_type", "head"), [*ONE_EACH, *OTHERS])
def test_rounding_noise_stays_below_the_tolerance(model_type, head, tmp_path):
    folder = make_checkpoint(model_type, head, tmp_path)
    inputs, _ = _inputs(model_type, folder)
    valid = inputs["attention_mask"].numpy().astype(bool) if "attention_mask" in inputs else None
    reference = _outputs(head, folder, inputs)
    eager = _outputs(head, folder, inputs, attn_implementation="eager")
    for name, output in reference.items():
        assert np.abs(_valid(output, valid) - _valid(eager[name], valid)).max() < NOISE, name


@pytest.mark.parametrize("model_type", ["bert", "llama", "xlm-roberta", "mobilevit"])
def test_the_same_seed_gives_the_same_bytes(model_type, tmp_path):
    head = TYPES[model_type].heads[0]
    first, again, other = (
        _bytes(make_checkpoint(model_type, head, tmp_path / name, seed=seed))
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    assert first == again
    assert first["model.safetensors"] != other["model.safetensors"]
    assert max(len(content) for content in first.values()) < 1_000_000


@pytest.mark.parametrize("model_type", [name for name, row in TYPES.items() if row.tokenizer])
def test_the_tokenizer_is_realistic(model_type, tmp_path):
    folder = make_checkpoint(model_type, TYPES[model_type].heads[0], tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert tokenizer.is_fast
    assert tokenizer.model_max_length == 128
    assert tokenizer.pad_token_id is not None
    assert (tokenizer.mask_token_id is not None) or ("masked-lm" not in TYPES[model_type].heads)
    ids = tokenizer("My name is Sarah and I live in London.").input_ids
    assert tokenizer.decode(ids, skip_special_tokens=True).casefold().startswith("my name is sarah")


def _inputs(model_type: str, folder: Path):
    """Return two batches of two rows, of the same shape; texts are padded on the left, where decoders see it."""
    if TYPES[model_type].tokenizer is None:
        return _images(folder, seed=0), _images(folder, seed=1)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    first = tokenizer(list(TEXTS), padding=True, padding_side="left", return_tensors="pt")
    ids = tokenizer(list(OTHER_TEXTS), padding=True, padding_side="left", return_tensors="pt")["input_ids"]
    return dict(first), {**first, "input_ids": _resized(ids, first["input_ids"])}


def _resized(ids, like):
    return torch.cat([ids, ids], dim=1)[:, : like.shape[1]]


def _images(folder: Path, *, seed: int):
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (2, 12, 16, 3), dtype=np.uint8)
    return dict(processor(list(pixels.repeat(6, 1).repeat(6, 2)), return_tensors="pt"))


def _outputs(head: str, folder: Path, inputs, **options):
    auto_class = HEADS[head].auto_class
    model = auto_class.from_pretrained(folder, dtype=torch.float32, local_files_only=True, **options).eval()
    with torch.no_grad():
        return {name: value.numpy() for name, value in model(**inputs).items() if torch.is_tensor(value)}


def _valid(output, mask):
    per_token = mask is not None and output.shape[: mask.ndim] == mask.shape
    return output[mask] if per_token else output


def _bytes(folder: Path):
    return {file.name: file.read_bytes() for file in folder.iterdir()}
