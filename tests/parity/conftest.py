"""What the comparisons of text pipelines share: both sides of one, on bundles that are exported once."""

import pytest
import transformers

from tests.checkpoints import make_checkpoint
from tests.exports import exported_once
from tests.parity.every_profile import assert_refused_as_listed, export_exactly, export_with_all
from tests.parity.text_subjects import HEADS
from vitrify import load_bundle, pipeline


@pytest.fixture(scope="session")
def text_pair(tmp_path_factory):
    """Return a function from a task, a type and arguments to (ours, transformers'); a bundle is exported once."""
    made = {}

    def get(task, model_type, **options):
        key = (model_type, HEADS[task])
        if key not in made:
            folder = exported_once(tmp_path_factory, *key)
            made[key] = folder / "checkpoint", load_bundle(folder / "bundle")
        checkpoint, bundle = made[key]
        theirs = transformers.pipeline(task, model=str(checkpoint), device="cpu", **options)
        return pipeline(task, bundle, **options), theirs

    return get


@pytest.fixture
def export_type(request, tmp_path, record_property):
    """Return a function that exports a tiny checkpoint and returns it with the report.

    The profile is cpu-fp32, in a sweep all of them; what each gave is kept for benchmarks/results/types.json, and what
    is refused must be listed.
    """
    found = []

    def export(model_type, head, *, task=None):
        checkpoint, bundle = make_checkpoint(model_type, head, tmp_path / "checkpoint"), tmp_path / "bundle"
        if not request.config.getoption("sweep"):
            return checkpoint, export_exactly(checkpoint, bundle, task=task)
        report, rows = export_with_all(checkpoint, bundle, task=task)
        found.extend({"type": model_type, **row} for row in rows)
        for row in found:
            record_property("row", row)
        return checkpoint, report

    yield export
    assert_refused_as_listed(found)
