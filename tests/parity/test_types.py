"""Every model type with every head that it has: exported, verified, and compared with transformers on every task."""

from pathlib import Path

import pytest
import transformers

import vitrify
from tests.checkpoints import PAIRS, TYPES
from tests.images import picture
from tests.parity.compare import assert_same_calls, text_cases
from tests.parity.tested_types import parametrized
from vitrify.runtime.tasks import tasks_of

TOLERANCE = 1e-4
# transformers 5 has no pipeline for it; tests/parity/test_question_answering.py has the goldens of 4.57.3.
WITHOUT_REFERENCE = {"question-answering"}
# Image types whose height and width stay dynamic; the others fix them, or pad by divisibility.
DYNAMIC = {"convnext", "resnet", "segformer", "dinov2", "efficientnet"}
# Text cases of one type; other tests run all of them on a few types.
EVERY = 6
# Pictures, made here and not random noise: what a resize does to noise says little.
IMAGE_CASES = {
    "image-classification": [((picture(),), {}), ((picture(size=(90, 31)),), {"top_k": 2}), (([picture()],), {})],
    "image-feature-extraction": [((picture(),), {}), (([picture(), picture(1)],), {})],
}


@pytest.mark.parametrize(("model_type", "head"), parametrized(PAIRS))
def test_the_bundle_is_the_same_model(model_type: str, head: str, tmp_path: Path, export_type):
    tasks = tasks_of(head, "text" if TYPES[model_type].tokenizer else "image")
    checkpoint, report = export_type(model_type, head, task=tasks[0])
    assert report.passed
    assert report.profiles["cpu-fp32"]["worst"]["difference"] <= TOLERANCE
    assert report.bundle.tasks == tasks
    if "sequence" in report.bundle.axes:
        assert report.bundle.axes["sequence"].minimum <= TYPES[model_type].shortest
    else:
        assert ("height" in report.bundle.axes) == (model_type in DYNAMIC)
    for task in sorted(set(tasks) - WITHOUT_REFERENCE):
        ours = vitrify.pipeline(task, tmp_path / "bundle")
        theirs = transformers.pipeline(task, model=str(checkpoint), device="cpu")
        assert_same_calls(ours, theirs, _cases(task, ours), tolerance=TOLERANCE)


def _cases(task, pipe):
    if pipe.image_processor is not None:
        return IMAGE_CASES[task]
    return text_cases(task, mask=pipe.tokenizer.mask_token or "")[::EVERY]
