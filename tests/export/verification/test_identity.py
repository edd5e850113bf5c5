"""A lossy graph that was changed after its export fails `verify`, although its digest fits; an untouched one passes.

Each change is of a kind that a wide tolerance beside PyTorch lets pass: outputs of zeros, of constants, of other rows,
and one layer without weights.
"""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.checkpoints import make_checkpoint
from vitrify import export_bundle
from vitrify.profiles import load_profile, profile_names
from vitrify.runtime.bundle.manifest import Bundle, write_manifest
from vitrify.runtime.errors import EnvironmentMissing, IntegrityError, ParityError
from vitrify.runtime.machine import this_machine
from vitrify.runtime.selection.profiles import check_machine
from vitrify.runtime.verification.verify import require_passed, verify_bundle

MODELS = {"encoder": ("bert", "base"), "decoder": ("llama", "causal-lm"), "encoder-decoder": ("marian", "seq2seq-lm")}
POSITIONS = 256
MOST = 0.5
FACTOR = 2  # by which a change is beyond the tolerance, at the least


def runs_here(profile) -> bool:
    try:
        check_machine(profile, this_machine())
    except EnvironmentMissing:
        return False
    return True


LOSSY = [profile for profile in map(load_profile, profile_names()) if profile.is_lossy and not profile.is_emulable]
HERE = [profile.name for profile in LOSSY if runs_here(profile)]
ROWS = [(family, name) for family in MODELS for name in HERE if family == "decoder" or not load_profile(name).weights]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> Callable[[str], Path]:
    """Return a function that exports a family's tiny model with every lossy profile that is available, once."""
    made: dict[str, Path] = {}

    def bundle(family: str) -> Path:
        if family not in made:
            folder = tmp_path_factory.mktemp(family)
            checkpoint = make_checkpoint(*MODELS[family], folder / "checkpoint")
            profiles = [name for own, name in ROWS if own == family]
            report = export_bundle(checkpoint, folder / "bundle", profiles=["cpu-fp32", *profiles])
            assert report.passed
            made[family] = folder / "bundle"
        return made[family]

    return bundle


def zeros(model: onnx.ModelProto) -> None:
    _replace_outputs(model, lambda given, made: [helper.make_node("Mul", [given, _scalar(model, 0.0)], [made])])


def constants(model: onnx.ModelProto) -> None:
    def nodes(given: str, made: str) -> list[onnx.NodeProto]:
        whole = helper.make_node("Mul", [given, _scalar(model, 0.0)], [f"{made}_zeros"])
        return [whole, helper.make_node("Add", [f"{made}_zeros", _scalar(model, 0.7)], [made])]

    _replace_outputs(model, nodes)


def shuffled_rows(model: onnx.ModelProto) -> None:
    """The rows of every table and matrix are those of another: each is right, in the wrong place."""
    for tensor in _matrices(model.graph):
        values = numpy_helper.to_array(tensor)
        order = np.random.default_rng(0).permutation(len(values))
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values[order]), tensor.name))


def a_layer_of_zeros(model: onnx.ModelProto) -> None:
    """A quarter of all matrices is zero, those of eight bits at their zero."""
    found = _matrices(model.graph)
    for tensor in found[len(found) // 4 : len(found) // 2] or found:
        values = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(np.full_like(values, np.median(values)), tensor.name))


CHANGES = [zeros, constants, shuffled_rows, a_layer_of_zeros]


def _matrices(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    return [tensor for tensor in graph.initializer if len(tensor.dims) > 1 and np.prod(tensor.dims) >= 512]


def _scalar(model: onnx.ModelProto, value: float) -> str:
    name = f"changed_{value}"
    if name not in {tensor.name for tensor in model.graph.initializer}:
        model.graph.initializer.append(helper.make_tensor(name, onnx.TensorProto.FLOAT, [], [value]))
    return name


def _replace_outputs(model: onnx.ModelProto, nodes: Callable[[str, str], list[onnx.NodeProto]]) -> None:
    """Compute each output that is no cache from what it was."""
    for output in [value.name for value in model.graph.output if not value.name.startswith("present")]:
        for node in model.graph.node:
            node.output[:] = [f"{name}_was" if name == output else name for name in node.output]
            node.input[:] = [f"{name}_was" if name == output else name for name in node.input]
        model.graph.node.extend(nodes(f"{output}_was", output))


def only(bundle: Path, profile: str, folder: Path) -> Bundle:
    """Copy a bundle with one of its profiles."""
    shutil.copytree(bundle, folder)
    found = Bundle.read(folder)
    build = found.builds[profile]
    graphs = {name: found.graphs[name] for name in build.graphs}
    return write_manifest(dataclasses.replace(found, builds={profile: build}, graphs=graphs), folder)


def changed(bundle: Bundle, profile: str, change: Callable[[onnx.ModelProto], None]) -> None:
    """Change the graph that answers; its digest no longer fits."""
    graphs = bundle.builds[profile].graphs
    path = bundle.folder / graphs["decoder_step" if "decoder_step" in graphs else next(iter(graphs))]
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


@pytest.mark.parametrize(("family", "profile"), ROWS)
def test_an_untouched_graph_is_the_exported_one(bundles, family, profile, tmp_path):
    only(bundles(family), profile, tmp_path / "copy")
    item = verify_bundle(tmp_path / "copy").profiles[profile]
    assert item["passed"]
    assert item["identity"]["checked"]
    assert item["identity"]["difference"] < item["identity"]["tolerance"] / 10
    assert load_profile(profile).tolerance.identity <= item["identity"]["tolerance"] <= MOST
    assert item["identity"]["positions"] >= POSITIONS
    assert (item["quality"] is not None) == (load_profile(profile).weights is not None)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize(("family", "profile"), ROWS)
def test_a_changed_graph_fails(bundles, family, profile, change, tmp_path):
    bundle = only(bundles(family), profile, tmp_path / "copy")
    changed(bundle, profile, change)
    with pytest.raises(IntegrityError, match="sha256") as integrity:
        verify_bundle(bundle.folder)
    assert integrity.value.exit_code == 7
    write_manifest(bundle, bundle.folder)
    verification = verify_bundle(bundle.folder)
    identity = verification.profiles[profile]["identity"]
    assert not identity["passed"]
    assert identity["difference"] > FACTOR * identity["tolerance"]
    with pytest.raises(ParityError, match="identity: outputs differ by") as parity:
        require_passed(verification)
    assert parity.value.exit_code == 4


def test_what_is_stored_fits(bundles):
    for family in MODELS:
        assert sum(path.stat().st_size for path in (bundles(family) / "parity").iterdir()) < 5e6


def test_float32_is_compared_with_pytorch_only(bundles, tmp_path):
    only(bundles("decoder"), "cpu-fp32", tmp_path / "copy")
    item = verify_bundle(tmp_path / "copy").profiles["cpu-fp32"]
    assert (item["passed"], item["quality"], item["identity"]) == (True, None, None)


def test_a_bundle_without_stored_outputs_says_so(bundles, tmp_path):
    bundle = only(bundles("encoder"), "cpu-int8", tmp_path / "copy")
    (bundle.folder / "parity" / "identity-cpu-int8.safetensors").unlink()
    write_manifest(bundle, bundle.folder)
    item = verify_bundle(bundle.folder).profiles["cpu-int8"]
    assert item["passed"]
    assert item["identity"] == {"checked": False, "reason": "export again"}
