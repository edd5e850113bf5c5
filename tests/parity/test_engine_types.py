"""Every type's graphs as engines for three compute capabilities: built, or refused as `unbuilt.toml` says."""

import tomllib
from pathlib import Path

import pytest

from tests.checkpoints import GENERATIVE_PAIRS, make_checkpoint
from tests.parity.test_encoder_decoder_types import UNTRACEABLE
from tests.parity.test_types import QUICK
from vitrify import export_bundle
from vitrify.export.engine.build import Order, check_engines

PROFILE, SMS = "trt-fp16-latency", ("86", "89", "120")
UNBUILT = tomllib.loads(Path(__file__).with_name("unbuilt.toml").read_text())
PAIRS = [pair for pair in (*GENERATIVE_PAIRS, *QUICK) if pair[0] not in UNTRACEABLE]


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "head"), PAIRS)
def test_every_graph_is_built_or_refused_as_listed(model_type: str, head: str, tmp_path: Path, record_property):
    checkpoint = make_checkpoint(model_type, head, tmp_path / "checkpoint")
    # What a type loses in half precision is another table's.
    export_bundle(checkpoint, tmp_path / "bundle", profiles=PROFILE, sms=None, allow_mismatch=True)
    reports = check_engines(tmp_path / "bundle", [PROFILE], Order(SMS), twice=False)
    for report in reports:
        record_property("engine", {"type": model_type, "head": head, "why": report.why, **report.document})
    assert all(report.built for report in reports) == (model_type not in UNBUILT), [str(each) for each in reports]
