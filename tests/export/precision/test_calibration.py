"""Calibration runs the model itself: what it sees is what a layer reads, over all inputs and every graph."""

from dataclasses import replace

import numpy as np
import onnx
import PIL.Image
import pytest
import soundfile

from tests.checkpoints import make_checkpoint
from tests.fakes import FakeSession
from vitrify import export_bundle
from vitrify.export.checkpoint.opened import open_checkpoint
from vitrify.export.families import export_family
from vitrify.export.passes.precision.quantize_pairs import HIGHEST, LOWEST, POWER
from vitrify.export.precision.calibration import Recorder, calibrate
from vitrify.export.precision.calibration_inputs import MOST, read_calibration
from vitrify.export.precision.variants import write_variants
from vitrify.profiles import load_profile
from vitrify.runtime.bundle.digests import file_digest
from vitrify.runtime.bundle.manifest import Bundle
from vitrify.runtime.errors import UsageError
from vitrify.runtime.graphs.signature import Tensor
from vitrify.runtime.machine import this_machine
from vitrify.runtime.sessions.model import Model

ENDS = tuple(f"x{end}" for end in (HIGHEST, LOWEST, POWER))


def test_the_recorder_keeps_the_ends_and_the_mean_and_hands_on_the_rest():
    sizes = map(np.float32, (2, 5, 1))

    def observed(feeds):
        size = next(sizes)
        return {"y": np.zeros(1), **dict(zip(ENDS, (size, -2 * size, size**2), strict=True))}

    inner = FakeSession(observed, outputs=tuple(Tensor(name, "float32", ()) for name in ("y", *ENDS)))
    recorder = Recorder(inner)
    assert [tensor.name for tensor in recorder.outputs] == ["y"]
    for _ in range(3):
        assert list(recorder.run({})) == ["y"]
    assert recorder.seen["x"].highest == 5
    assert recorder.seen["x"].lowest == -10
    assert recorder.seen["x"].largest == 10
    assert recorder.seen["x"].power == pytest.approx((4 + 25 + 1) / 3)
    recorder.close()
    assert inner.closed


@pytest.mark.parametrize(
    ("model_type", "head", "names"),
    [
        ("bert", "base", {"model"}),
        ("llama", "causal-lm", {"model"}),
        pytest.param(
            "bart", "seq2seq-lm", {"encoder_model", "cross_attention", "decoder_step"}, marks=pytest.mark.slow
        ),
        ("vit", "image-classification", {"model"}),
    ],
)
def test_every_graph_that_runs_is_calibrated(model_type, head, names, tmp_path):
    checkpoint = open_checkpoint(make_checkpoint(model_type, head, tmp_path / "checkpoint"))
    family = export_family(checkpoint.head.family)
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


@pytest.mark.skipif(not this_machine().has_any(load_profile("cpu-int8-static").requires), reason="no VNNI, no AMX")
@pytest.mark.parametrize(
    ("model_type", "head"), [("bert", "base"), ("resnet", "image-classification"), ("bart", "seq2seq-lm")]
)
def test_static_int8_runs_on_openvino_and_holds_layers_in_int8(model_type, head, tmp_path):
    checkpoint = make_checkpoint(model_type, head, tmp_path / "checkpoint")
    report = export_bundle(checkpoint, tmp_path / "bundle", profiles=["cpu-int8-static"])
    found = report.profiles["cpu-int8-static"]
    assert (found["passed"], found["emulated"]) == (True, False)
    assert 1e-4 < found["drift"] < 0.25
    build = report.bundle.builds["cpu-int8-static"]
    for file in build.graphs.values():
        assert file.endswith("_int8_static.onnx")
        graph = onnx.load(tmp_path / "bundle" / file, load_external_data=False).graph
        assert "DequantizeLinear" in {node.op_type for node in graph.node}
        assert onnx.TensorProto.INT8 in {tensor.data_type for tensor in graph.initializer}


def test_the_shortest_sequences_are_seen_and_those_that_a_graph_does_not_take_are_left(tmp_path, monkeypatch):
    checkpoint = open_checkpoint(make_checkpoint("bert", "base", tmp_path / "checkpoint"))
    family = export_family(checkpoint.head.family)
    plan = next(family.plans(checkpoint, family.oracle(checkpoint)))
    variants = write_variants(checkpoint, family, tmp_path, plan, [load_profile("cpu-fp32")])
    files = {name: tmp_path / family.file(name, suffix="") for name in variants.names}
    lengths = []

    def run(model, **inputs):
        lengths.append(inputs["input_ids"].shape[1])
        if lengths[-1] == 1:
            raise UsageError("this graph takes two tokens at least")
        return called(model, **inputs)

    called = Model.__call__
    monkeypatch.setattr(Model, "__call__", run)
    assert calibrate(checkpoint, plan, family.name, files, plan.axes)["model"]
    assert {1, 2, 3, 4, 5, 6} <= set(lengths)


def own_inputs(kind, folder):
    """Write three inputs of a kind, and what is none beside them, and return what `--calibration` takes."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    if kind == "text":
        (folder / "texts.txt").write_text("one text\n\nanother one\na third, which is longer\n")
        return folder / "texts.txt"
    for index in range(3):
        if kind == "image":
            pixels = draw.integers(0, 256, (40 + index, 30, 3), np.uint8)
            PIL.Image.fromarray(pixels).save(folder / f"{index}.png")
        else:
            soundfile.write(folder / f"{index}.wav", draw.normal(0, 0.1, 8000 + index), 8000)
    (folder / ".hidden").write_text("no input")
    return folder


KINDS = [
    ("text", "bert", "base"),
    ("text", "llama", "causal-lm"),
    pytest.param("text", "bart", "seq2seq-lm", marks=pytest.mark.slow),
    ("image", "vit", "image-classification"),
    pytest.param("image", "trocr", "image-to-text", marks=pytest.mark.slow),
    ("audio", "wav2vec2", "ctc"),
    ("audio", "whisper", "speech-seq2seq"),
]


@pytest.mark.parametrize(("kind", "model_type", "head"), KINDS)
def test_what_a_user_gives_is_what_runs(kind, model_type, head, tmp_path):
    checkpoint = open_checkpoint(make_checkpoint(model_type, head, tmp_path / "checkpoint"))
    given = read_calibration(checkpoint, own_inputs(kind, tmp_path / "given"))
    assert len(given.rows) == 3
    assert len(given.digest) == 64
    family = export_family(checkpoint.head.family)
    plan = next(family.plans(checkpoint, family.oracle(checkpoint)))
    target = load_profile("trt-int8")
    variants = write_variants(checkpoint, family, tmp_path, plan, [load_profile("cpu-fp32")])
    files = {name: tmp_path / family.file(name, suffix="") for name in variants.files(target)}

    def largest(rows):
        seen = calibrate(checkpoint, replace(plan, calibration=rows), family.name, files, plan.axes)
        return {(graph, name): each.largest for graph, found in seen.items() for name, each in found.items()}

    alone, together = [largest([row]) for row in given.rows], largest(given.rows)
    for name, found in together.items():
        np.testing.assert_allclose(found, np.max([each[name] for each in alone], axis=0), rtol=1e-5, atol=1e-6)


def test_an_export_is_calibrated_on_a_file_and_records_its_digest(tmp_path):
    checkpoint = make_checkpoint("bert", "sequence-classification", tmp_path / "checkpoint")
    texts = own_inputs("text", tmp_path / "given")
    common = {"profiles": ["trt-int8"], "sms": None}
    export_bundle(checkpoint, tmp_path / "seeded", **common)
    export_bundle(checkpoint, tmp_path / "given-bundle", calibration=texts, **common)
    bundles = [Bundle.read(tmp_path / name) for name in ("seeded", "given-bundle")]
    assert bundles[1].source.files["calibration"] == file_digest(texts)
    assert "calibration" not in bundles[0].source.files
    graph = bundles[0].builds["trt-int8"].graphs["model"]
    assert bundles[0].files[graph] != bundles[1].files[graph], "other scales"


def test_of_many_texts_some_all_through_are_taken(tmp_path):
    checkpoint = open_checkpoint(make_checkpoint("bert", "base", tmp_path / "checkpoint"))
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"text {'x ' * (index % 50)}\n" for index in range(3 * MOST)))
    rows = read_calibration(checkpoint, texts).rows
    assert len(rows) == MOST
    assert len({row["input_ids"].shape[1] for row in rows}) == 50


REFUSED = {
    "nothing there": (lambda folder: folder / "missing", "no file is at"),
    "an empty folder": (lambda folder: folder, "no file is at"),
    "a folder": (lambda folder: write(folder / "texts.txt", b"a text") and folder, "pass one text file"),
    "no text": (lambda folder: write(folder / "texts.txt", b"\n \n"), "contains no text"),
    "no UTF-8": (lambda folder: write(folder / "texts.txt", b"\xff\xfe\x00"), "is not a text in UTF-8"),
}


def write(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("what", REFUSED)
def test_what_nothing_can_be_calibrated_on_is_refused(tmp_path, what):
    checkpoint = make_checkpoint("bert", "base", tmp_path / "checkpoint")
    folder = tmp_path / "given"
    folder.mkdir()
    make, said = REFUSED[what]
    with pytest.raises(UsageError, match=said):
        export_bundle(checkpoint, tmp_path / "out", profiles=["trt-int8"], calibration=make(folder))
    assert not (tmp_path / "out").exists()


def test_images_that_are_none_and_profiles_without_calibration_are_refused(tmp_path):
    checkpoint = make_checkpoint("vit", "image-classification", tmp_path / "checkpoint")
    texts = own_inputs("text", tmp_path / "given")
    with pytest.raises(UsageError, match="is not an image"):
        export_bundle(checkpoint, tmp_path / "out", profiles=["trt-int8"], calibration=texts)
    with pytest.raises(UsageError, match="none of cpu-int8 is calibrated"):
        export_bundle(checkpoint, tmp_path / "out", profiles=["cpu-int8"], calibration=texts)


def test_a_plan_whose_graph_cannot_run_gives_way_to_the_next(tmp_path):
    checkpoint = make_checkpoint("beit", "base", tmp_path / "checkpoint")
    report = export_bundle(checkpoint, tmp_path / "bundle", profiles=["trt-int8"], sms=None)
    assert report.passed
    assert report.bundle.graphs["model"].inputs[0].axes == ("batch", 3, 32, 32)
