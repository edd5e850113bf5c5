"""Every encoder-decoder type: exported, verified step by step, and compared with generate() of transformers."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import vitrify
from tests.checkpoints import GENERATIVE_HEADS, GENERATIVE_PAIRS, make_checkpoint
from tests.parity.every_profile import EXACT
from tests.parity.tested_types import UNTRACEABLE, parametrized
from vitrify.export.checkpoint.opened import open_checkpoint
from vitrify.export.verification.encoder_samples import source_of
from vitrify.runtime.bundle.manifest import Bundle
from vitrify.runtime.errors import ExportError
from vitrify.runtime.verification.parity import read_cases

TOLERANCE = 1e-4
HEADS = ("seq2seq-lm", "speech-seq2seq", "image-to-text")
PAIRS = [pair for pair in GENERATIVE_PAIRS if pair[1] in HEADS and pair[0] not in UNTRACEABLE]
# Below this margin between the two likeliest tokens either may be chosen, and what follows is another answer.
MARGIN = 1e-3
NEW = 24


@pytest.mark.parametrize(("model_type", "head"), parametrized(PAIRS))
def test_the_bundle_is_the_same_model(model_type: str, head: str, tmp_path: Path, export_type):
    torch.set_num_threads(1)
    checkpoint, report = export_type(model_type, head)
    assert report.passed
    assert report.profiles["cpu-fp32"]["worst"]["difference"] <= TOLERANCE
    names = {case.name for case in read_cases(next(tmp_path.glob("bundle/parity/*")))}
    assert "batch 3 x source 20, prompt 1 + 64 tokens" in names
    assert_weights_are_stored_once(checkpoint, tmp_path / "bundle")
    assert_same_answers(checkpoint, tmp_path / "bundle", getattr(transformers, GENERATIVE_HEADS[head].auto))


@pytest.mark.parametrize("model_type", sorted(UNTRACEABLE))
def test_what_cannot_be_traced_says_so(model_type: str, tmp_path: Path):
    checkpoint = make_checkpoint(model_type, "seq2seq-lm", tmp_path / "checkpoint")
    with pytest.raises(ExportError, match="cannot be traced: what it does depends on the values of its inputs"):
        vitrify.export_bundle(checkpoint, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def assert_weights_are_stored_once(checkpoint: Path, bundle: Path) -> None:
    """Only an embedding that both halves read, and tables of positions, may be there beside the parameters."""
    parameters = (checkpoint / "model.safetensors").stat().st_size
    manifest = Bundle.read(bundle)
    names = {name for graph in manifest.builds[EXACT].graphs for name in manifest.graph_files(EXACT, graph)}
    sizes = {Path(name).name: (bundle / name).stat().st_size for name in names}
    data = {name: size for name, size in sizes.items() if name.endswith("_data")}
    assert set(data) == {"encoder_model.onnx_data", "decoder_model_merged.onnx_data"}
    assert sum(data.values()) < parameters * 1.5
    assert sum(sizes.values()) - sum(data.values()) < parameters


def assert_same_answers(checkpoint: Path, folder: Path, auto_class) -> None:
    """Compare greedy search and four beams, token by token."""
    model, ours = auto_class.from_pretrained(checkpoint, dtype="float32").eval(), vitrify.load_bundle(folder)
    given = source_of(open_checkpoint(checkpoint)).batch(3, 9, seed=7)
    settings = {"max_new_tokens": NEW, "do_sample": False}
    theirs = _reference(model, given, **settings, num_beams=1)
    sure = _sure_steps(theirs.scores)
    assert sure.sum() > 8, "the reference itself is undecided: nothing would be compared"
    made, expected = ours.generate(**given, **settings, num_beams=1), theirs.sequences.numpy()
    for row, certain in enumerate(sure):
        end = expected.shape[1] - len(certain) + int(certain.sum())
        assert made[row, :end].tolist() == expected[row, :end].tolist(), f"row {row}"
    beams = {**settings, "num_beams": 4}
    wanted = _reference(model, given, **beams).sequences.numpy()
    assert ours.generate(**given, **beams).tolist() == wanted.tolist()


def _reference(model, given, **settings):
    """Run the generation that all models share; some classes put their own way of transcribing over it."""
    inputs = {name: torch.from_numpy(value) for name, value in given.items()}
    with torch.inference_mode():
        return transformers.GenerationMixin.generate(
            model, **inputs, **settings, return_dict_in_generate=True, output_scores=True
        )


def _sure_steps(scores: tuple[torch.Tensor, ...]) -> np.ndarray:
    """Return bool [rows, steps]: the steps before the first at which the reference's choice is a close one."""
    best = torch.stack(scores, dim=1).topk(2).values
    return ((best[..., 0] - best[..., 1]) >= MARGIN).cumprod(1).bool().numpy()
