"""Every decoder type: exported, verified step by step, and compared with transformers on ragged prompts."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import vitrify
from tests.checkpoints import GENERATIVE_PAIRS
from tests.parity.tested_types import parametrized
from vitrify.runtime.verification.parity import read_cases

TOLERANCE = 1e-4
PAIRS = [pair for pair in GENERATIVE_PAIRS if pair[1] == "causal-lm"]
# Those whose cache grows: attention that weighs tokens by their distance is no GroupQueryAttention.
GROWING = {"bloom"}
# Below this margin between the two likeliest tokens either may be chosen, and what follows is another answer.
MARGIN = 1e-3
NEW = 24
LENGTHS = (12, 5, 9)  # two of them longer than the windows of 8


@pytest.mark.parametrize(("model_type", "head"), parametrized(PAIRS))
def test_the_bundle_is_the_same_model(model_type: str, head: str, tmp_path: Path, export_type):
    torch.set_num_threads(1)
    checkpoint, report = export_type(model_type, head)
    assert report.passed
    assert report.profiles["cpu-fp32"]["worst"]["difference"] <= TOLERANCE
    assert ("in_place" in report.bundle.graphs) == (model_type not in GROWING)
    assert "batch 3 x prompt 17 + 64 tokens" in {
        case.name for case in read_cases(next(tmp_path.glob("bundle/parity/*")))
    }
    assert_same_answers(checkpoint, tmp_path / "bundle")


def assert_same_answers(checkpoint: Path, bundle: Path) -> None:
    """Compare greedy search and four beams, token by token, on prompts that are padded on the left."""
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, dtype="float32")
    ours, (ids, mask) = vitrify.load_bundle(bundle), ragged_prompts(model.config.vocab_size)
    settings = {"max_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}
    theirs = _reference(model, ids, mask, **settings)
    sure = _sure_steps(theirs.scores)
    assert sure.sum() > len(LENGTHS) * NEW // 2, "the reference itself is undecided: nothing would be compared"
    _assert_same(ours.generate(ids, attention_mask=mask, **settings), theirs.sequences.numpy(), sure)
    beams = {**settings, "num_beams": 4}
    expected = _reference(model, ids, mask, **beams)
    made = ours.generate(ids, attention_mask=mask, **beams)
    for row, (mine, other) in enumerate(zip(made, expected.sequences.numpy(), strict=True)):
        if mine.tolist() != other.tolist():
            assert _score(model, mine, mask[row]) > float(expected.sequences_scores[row]) - MARGIN, f"row {row}"


def ragged_prompts(vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and mask, int64 [rows, longest], padded on the left."""
    ids = np.random.default_rng(7).integers(10, vocabulary, (len(LENGTHS), max(LENGTHS)))
    mask = (np.arange(max(LENGTHS)) >= max(LENGTHS) - np.array(LENGTHS)[:, None]).astype(np.int64)
    return ids * mask, mask


def _reference(model, ids, mask, **settings):
    with torch.inference_mode():
        return model.generate(
            torch.from_numpy(ids),
            attention_mask=torch.from_numpy(mask),
            return_dict_in_generate=True,
            output_scores=True,
            **settings,
        )


def _sure_steps(scores: tuple[torch.Tensor, ...]) -> np.ndarray:
    """Return bool [rows, steps]: the steps before the first at which the reference's choice is a close one."""
    best = torch.stack(scores, dim=1).topk(2).values
    return ((best[..., 0] - best[..., 1]) >= MARGIN).cumprod(1).bool().numpy()


def _assert_same(ours: np.ndarray, theirs: np.ndarray, sure: np.ndarray) -> None:
    start = max(LENGTHS)
    assert ours.shape == theirs.shape or not sure.all()
    for row, certain in enumerate(sure):
        steps = int(certain.sum())
        assert ours[row, start : start + steps].tolist() == theirs[row, start : start + steps].tolist(), f"row {row}"


def _score(model, sequence: np.ndarray, mask: np.ndarray) -> float:
    """Return the reference's mean log probability of what follows a prompt."""
    whole = np.concatenate([mask, np.ones(len(sequence) - len(mask), np.int64)])
    kept = torch.from_numpy(sequence[whole == 1])[None]
    with torch.inference_mode():
        logprobs = model(input_ids=kept).logits.log_softmax(-1)[0, :-1].gather(1, kept[0, 1:, None])[:, 0]
    return float(logprobs[int(mask.sum()) - 1 :].mean())
