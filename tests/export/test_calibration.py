"""Calibration runs the model itself: what it sees is what a layer reads, over all inputs and every graph."""

import numpy as np
import pytest

from tests.checkpoints import make_checkpoint
from vitrify import export_bundle
from vitrify.export.calibration import Recorder, calibrate
from vitrify.export.checkpoint import open_checkpoint
from vitrify.export.families import FAMILIES
from vitrify.export.passes.pairs import LARGEST, POWER
from vitrify.export.variants import write_variants
from vitrify.profiles import load_profile
from vitrify.runtime.sessions.base import Session, Tensor


class Observed(Session):
    """What an observed graph gives: two runs, one of small numbers and one of large ones."""

    def __init__(self):
        outputs = [Tensor(name, "float32", ()) for name in ("y", f"x{LARGEST}", f"x{POWER}")]
        super().__init__(graph="g", inputs=(), outputs=tuple(outputs), providers=("fake",))
        self.sizes = iter((2.0, 5.0, 1.0))
        self.closed = False

    def _run(self, feeds):
        size = np.float32(next(self.sizes))
        return {"y": np.zeros(1), f"x{LARGEST}": size, f"x{POWER}": size**2}

    def close(self):
        self.closed = True


def test_the_recorder_keeps_the_largest_and_the_mean_and_hands_on_the_rest():
    inner = Observed()
    recorder = Recorder(inner)
    assert [tensor.name for tensor in recorder.outputs] == ["y"]
    for _ in range(3):
        assert list(recorder.run({})) == ["y"]
    assert recorder.seen["x"].largest == 5
    assert recorder.seen["x"].power == pytest.approx((4 + 25 + 1) / 3)
    recorder.close()
    assert inner.closed


@pytest.mark.parametrize(
    ("model_type", "head", "names"),
    [
        ("bert", "base", {"model"}),
        ("llama", "causal-lm", {"model"}),
        ("bart", "seq2seq-lm", {"encoder_model", "cross_attention", "decoder_step"}),
        ("vit", "image-classification", {"model"}),
    ],
)
def test_every_graph_that_runs_is_calibrated(model_type, head, names, tmp_path):
    checkpoint = open_checkpoint(make_checkpoint(model_type, head, tmp_path / "checkpoint"))
    family = FAMILIES[checkpoint.head.family]
    plan = next(family.plans(checkpoint, family.oracle(checkpoint)))
    exact, target = load_profile("cpu-fp32"), load_profile("trt-int8")
    variants = write_variants(checkpoint, family, tmp_path, plan, [exact])
    files = {name: tmp_path / family.file(name, suffix="") for name in variants.files(target)}
    seen = calibrate(checkpoint, plan, family.name, files, plan.axes)
    assert set(seen) == names
    for found in seen.values():
        assert found
        assert all(np.isfinite(each.largest).all() and (each.power >= 0).all() for each in found.values())
        assert all((each.largest**2 >= each.power * 0.999).all() for each in found.values())


@pytest.mark.parametrize("profile", ["trt-int8", "trt-fp8"])
def test_an_export_is_calibrated_quantized_and_proven(profile, tmp_path):
    checkpoint = make_checkpoint("bert", "sequence-classification", tmp_path / "checkpoint")
    report = export_bundle(checkpoint, tmp_path / "bundle", profiles=[profile], sms=None)
    found = report.profiles[profile]
    assert (found["passed"], found["emulated"]) == (True, True)
    assert 1e-3 < found["drift"] < 0.25
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "bundle" / "onnx").iterdir()}
    assert set(sizes) == {f"model_{profile.replace('-', '_')}.onnx", f"model_{profile.replace('-', '_')}.onnx_data"}
