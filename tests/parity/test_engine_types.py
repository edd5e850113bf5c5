"""Every type's graphs as engines for three compute capabilities: built, or refused as `unbuilt.toml` says."""

from pathlib import Path

import pytest

from tests.checkpoints import make_checkpoint
from tests.parity.tested_types import ENGINE_PAIRS, SMS, UNBUILT
from vitrify import export_bundle
from vitrify.export.engine.build import Order, check_engines

PROFILE = "trt-fp16-latency"


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "head"), ENGINE_PAIRS)
def test_every_graph_is_built_or_refused_as_listed(model_type: str, head: str, tmp_path: Path, record_property):
    checkpoint = make_checkpoint(model_type, head, tmp_path / "checkpoint")
    # What a type loses in half precision is another table's.
    export_bundle(checkpoint, tmp_path / "bundle", profiles=PROFILE, sms=None, allow_mismatch=True)
    reports = check_engines(tmp_path / "bundle", [PROFILE], Order(SMS), twice=False)
    for report in reports:
        record_property("engine", {"type": model_type, "head": head, "why": report.why, **report.document})
    assert all(report.built for report in reports) == (model_type not in UNBUILT), [str(each) for each in reports]
