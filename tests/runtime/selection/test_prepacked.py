import numpy as np
import onnx
import pytest

from vitrify.runtime.bundle.manifest import Bundle
from vitrify.runtime.errors import EnvironmentMissing
from vitrify.runtime.loading import LoadedBundle
from vitrify.runtime.selection.prepacked import packed_graph
from vitrify.runtime.selection.profiles import Choice

UNFUSED = "optimization.disable_specified_optimizers"
IDS = np.array([[5, 6, 7, 8]])


@pytest.fixture
def loaded(exported, tmp_path, monkeypatch):
    monkeypatch.setenv("VITRIFY_CACHE", str(tmp_path / "cache"))

    def load(*, prepacked=True, entries=None):
        bundle = Bundle.read(exported.bundle)
        choice = Choice(bundle.profile("cpu-fp32"), threads=1, entries=entries or {}, prepacked=prepacked)
        return LoadedBundle(bundle, profile=choice)

    return load


def answer(bundle):
    feeds = {name: IDS if name == "input_ids" else np.ones_like(IDS) for name in bundle.model.input_names}
    return bundle.model(**feeds)[0]


def packed(bundle):
    return packed_graph(bundle.graph_digests("model"), bundle.settings)


def test_a_packed_graph_is_opened_and_answers_the_same_to_the_bit(loaded):
    bundle = loaded()
    assert packed(bundle) is None
    before = answer(bundle)
    bundle.prepack()
    again = loaded()
    path = packed(again)
    assert path.is_file()
    assert (answer(again) == before).all()
    assert again.model.session.graph == f"{path.parent.name}/model.onnx"


def test_without_the_choice_the_bundle_s_own_graph_is_opened(loaded):
    loaded().prepack()
    bundle = loaded(prepacked=False)
    answer(bundle)
    assert bundle.model.session.graph == "onnx/model.onnx"


def test_other_settings_have_their_own_graph(loaded):
    loaded().prepack()
    assert packed(loaded(entries={"session.intra_op.allow_spinning": "0"})) is None


@pytest.mark.parametrize(("entries", "fused"), [({}, False), ({UNFUSED: ""}, True)])
def test_norms_are_fused_only_where_a_setting_asks_for_it(loaded, entries, fused):
    bundle = loaded(entries=entries)
    bundle.prepack()
    graph = onnx.load(packed(bundle), load_external_data=False).graph
    assert ("SkipLayerNormalization" in {node.op_type for node in graph.node}) is fused


@pytest.mark.parametrize("name", ["model.onnx", "digests.json"])
def test_a_packed_graph_that_was_changed_is_not_opened(loaded, name):
    bundle = loaded()
    bundle.prepack()
    file = packed(bundle).parent / name
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert packed(bundle) is None
    again = loaded()
    answer(again)
    assert again.model.session.graph == "onnx/model.onnx"


def test_too_little_room_is_told_and_leaves_nothing(loaded, monkeypatch, tmp_path):
    monkeypatch.setattr("vitrify.runtime.selection.prepacked._GROWTH", 1e15)
    with pytest.raises(EnvironmentMissing, match="too little room for packed weights"):
        loaded().prepack()
    assert not list((tmp_path / "cache" / "prepacked").iterdir())
