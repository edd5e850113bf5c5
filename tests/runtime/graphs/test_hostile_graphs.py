"""Graphs that name what they may not read: refused with exit code 7 before any runtime sees the file."""

import json
import os
import re
import struct
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.runtime.graphs.hostile import (
    DATA,
    MARKER,
    PLACES,
    body,
    calling,
    constant,
    doubling,
    external,
    function,
    model,
    with_attribute,
)
from tests.runtime.sessions.tiny import cpu
from vitrify.runtime.bundle.manifest import MANIFEST, Bundle, add_files
from vitrify.runtime.errors import IntegrityError, UnsupportedError, VitrifyError
from vitrify.runtime.graphs.files import files_beside
from vitrify.runtime.graphs.header import read_header
from vitrify.runtime.loading import load_bundle
from vitrify.runtime.sessions import BACKENDS, open_session
from vitrify.runtime.sessions.opening import Opening

ELSEWHERE = [
    MARKER,
    "*/_ORT_NATIVE_ENDIAN_MEM_ADDR_/*",
    "",
    ".",
    "..",
    "../model.onnx_data",
    "deeper/model.onnx_data",
    "..\\model.onnx_data",
    "/etc/hostname",
    "C:model.onnx_data",
    "missing",
    "linked",
    "folder",
    "pipe",
    "a\0b",
    "n" * 5000,
    "two\nlines",
]


@pytest.fixture
def folder(tmp_path):
    """Make a folder with data beside the graph, and with what is none."""
    onnx_folder = tmp_path / "onnx"
    (onnx_folder / "folder").mkdir(parents=True)
    (onnx_folder / "deeper").mkdir()
    for path in (tmp_path, onnx_folder, onnx_folder / "deeper"):
        (path / DATA).write_bytes(np.arange(4, dtype=np.float32).tobytes())
    (onnx_folder / "linked").symlink_to(tmp_path / DATA)
    os.mkfifo(onnx_folder / "pipe")
    return onnx_folder


def written(folder, made):
    path = folder / "model.onnx"
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    return path


def refused(path, provider="cpu", words=None):
    needs = [need.packages[0] for need in BACKENDS[provider].needs]
    with pytest.raises(IntegrityError, match=words) as caught:
        open_session(path, provider=provider, opening=Opening(machine=cpu(gpus=("a GPU",))), installed=needs)
    assert caught.value.exit_code == 7
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_no_tensor_anywhere_is_read_from_an_address(folder, place, provider):
    refused(written(folder, PLACES[place](external(offset=4096))), provider, "which is not next to it")


@pytest.mark.parametrize("provider", [name for name, row in BACKENDS.items() if not row.opens_engines])
@pytest.mark.parametrize("place", ["initializer", "constant", "if, twice", "function"])
def test_every_provider_refuses_it_before_it_looks_for_its_runtime(folder, place, provider):
    refused(written(folder, PLACES[place](external())), provider, "which is not next to it")


@pytest.mark.parametrize("place", ["initializer", "constant", "if, twice"])
@pytest.mark.parametrize("location", ELSEWHERE, ids=lambda one: repr(one)[:24])
def test_weights_are_read_from_regular_files_beside_the_graph_only(folder, location, place):
    for provider in ("cpu", "openvino"):
        refused(written(folder, PLACES[place](external(location))), provider)


@pytest.mark.parametrize("place", PLACES)
def test_what_lies_beside_the_graph_is_found_wherever_it_is_named(folder, place):
    assert files_beside(written(folder, PLACES[place](external(DATA)))) == (DATA,)


@pytest.mark.parametrize("place", ["initializer", "constant", "if"])
@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_weights_beside_the_graph_are_read(folder, place, provider):
    with open_session(written(folder, PLACES[place](external(DATA))), provider=provider) as session:
        np.testing.assert_array_equal(session.run({"x": np.ones((1, 4), np.float32)})["y"], [[1, 2, 3, 4]])


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": "-1"},
        {"offset": "4"},
        {"length": "17"},
        {"length": "-16"},
        {"offset": str(2**64), "length": "0"},
        {"offset": str(2**64 - 8), "length": "16"},
        {"offset": "0x0"},
        {"offset": "zero"},
        {"length": ""},
        {"length": "٤"},  # a digit that is not ASCII's
        {"prepacked_0": "MatMul+1|0;16;0"},
        {"basepath": "/etc"},
    ],
    ids=str,
)
@pytest.mark.parametrize("place", ["initializer", "constant"])
def test_weights_beyond_the_file_and_unknown_words_are_refused(folder, place, entries):
    path = written(folder, PLACES[place](external(DATA, **entries)))
    with pytest.raises(IntegrityError):
        files_beside(path)


def test_a_tensor_that_names_two_files_is_refused(folder):
    tensor = external(DATA)
    tensor.external_data.add(key="location", value=DATA)
    refused(written(folder, model(constant(tensor))), words="a field is repeated")


def field(number, content):
    """Return a length-delimited field of a message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    groups = []
    while True:
        groups.append(value & 127 | (128 if value > 127 else 0))
        value >>= 7
        if not value:
            return bytes(groups)


def test_parts_that_other_readers_put_together_are_all_looked_at(folder):
    """A second graph in the model is merged with the first, a key beyond 32 bits is cut to them."""
    good, bad = model(constant(external(DATA))), model(constant(external()))
    graph = bad.graph.SerializeToString()
    for more in (field(7, graph), varint((7 << 3 | 2) + 2**32) + varint(len(graph)) + graph):
        for content in (good.SerializeToString() + more, more + good.SerializeToString()):
            for provider in ("cpu", "openvino"):
                refused(written(folder, content), provider)


@pytest.mark.parametrize("depth", [40, 3000])
@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_graphs_in_graphs_without_end_are_refused(folder, depth, provider):
    content = body(external(DATA)).SerializeToString()
    for _ in range(depth):
        attribute = field(1, b"body") + field(6, content)
        content = field(1, field(2, b"w") + field(4, b"If") + field(5, attribute)) + field(2, b"g")
    refused(written(folder, varint(8) + varint(10) + field(7, content)), provider, "nested deeper")


def test_only_files_that_end_in_onnx_are_opened(folder):
    """ONNX Runtime takes .ort, OpenVINO .xml and more: formats that nobody looks into."""
    path = written(folder, PLACES["constant"](external(DATA)))
    for name in ("model.ort", "model.xml", "model.onnx.pb", "model"):
        for provider in ("cpu", "openvino"):
            refused(path.rename(path.with_name(name)), provider, "does not end in")
            path.with_name(name).rename(path)


def context(**attributes):
    node = helper.make_node("EPContext", ["x"], ["w"], domain="com.microsoft")
    for name, value in {"main_context": 1, "embed_mode": 0, "ep_cache_context": DATA, **attributes}.items():
        if value is not None:
            node.attribute.append(helper.make_attribute(name, value))
    return model(node)


def test_a_compiled_model_beside_the_graph_is_one_of_its_files(folder):
    assert files_beside(written(folder, context(source="a provider", partition_name="one"))) == (DATA,)


@pytest.mark.parametrize(
    "attributes",
    [
        {"ep_cache_context": "../model.onnx_data"},
        {"ep_cache_context": "/etc/hostname"},
        {"ep_cache_context": "linked"},
        {"ep_cache_context": ""},
        {"ep_cache_context": None},
        {"embed_mode": 1},
        {"embed_mode": None},
        {"onnx_model_filename": "/etc/hostname"},
    ],
    ids=str,
)
@pytest.mark.parametrize("inside", [False, True])
def test_a_compiled_model_from_elsewhere_is_refused(folder, attributes, inside):
    made = context(**attributes)
    if inside:
        made = model(functions=[function(*made.graph.node)])
    refused(written(folder, made), "onnxruntime-tensorrt-rtx")


# -------------------------------------------------------------------------------------------------------- in bundles


@pytest.fixture
def bundle(exported, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setenv("VITRIFY_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(exported.bundle, tmp_path / "bundle"))


def resealed(bundle, change):
    """Change the graph of a bundle, as one who also writes its digests."""
    path = bundle / "onnx" / "model.onnx"
    made = onnx.load(path, load_external_data=False)
    change(made)
    path.write_bytes(made.SerializeToString())
    add_files(Bundle.read(bundle), ["onnx/model.onnx"])


def pointed(location):
    def change(made):
        tensor = made.graph.initializer[0]
        next(entry for entry in tensor.external_data if entry.key == "location").value = location

    return change


def test_a_file_beside_the_graph_that_is_not_listed_is_not_read(bundle):
    data = bundle / "onnx" / DATA
    os.link(data, bundle / "onnx" / "unlisted")
    resealed(bundle, pointed("unlisted"))
    with pytest.raises(IntegrityError, match=r"'.*unlisted' is not listed"):
        load_bundle(bundle).open()
    add_files(Bundle.read(bundle), ["onnx/unlisted"])
    load_bundle(bundle).open()
    (bundle / "onnx" / "unlisted").write_bytes(bytes(data.stat().st_size))
    with pytest.raises(IntegrityError, match="sha256 differs"):
        load_bundle(bundle).open()


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
@pytest.mark.parametrize("command", ["run", "info", "verify"])
def test_a_resealed_bundle_is_refused_by_every_command(bundle, provider, command, vitrify):
    resealed(bundle, lambda made: made.graph.node.insert(0, constant(external(offset=4096), "unheard")))
    manifest = bundle / MANIFEST
    content = json.loads(manifest.read_text())
    content["builds"]["cpu-fp32"]["profile"]["provider"] = provider
    manifest.write_text(json.dumps(content))
    words = ["run", "feature-extraction", "-m", bundle, "a"] if command == "run" else [command, bundle]
    done = vitrify(*words)
    assert done.code == 7, done.err
    assert "not next to it" in done.err + done.out


def test_weights_that_say_they_are_packed_are_not_taken_from_a_bundle(bundle):
    def change(made):
        made.graph.initializer[0].external_data.add(key="prepacked_0", value="MatMul+1|0;16;0")

    resealed(bundle, change)
    with pytest.raises(IntegrityError, match="prepacked_0"):
        load_bundle(bundle).open()


def test_large_weights_in_the_graph_are_skipped(folder):
    """A graph of 64 MB is walked without a look at its numbers: far less of it is read than it has."""
    large = TensorProto(name="large", data_type=TensorProto.FLOAT, dims=[2**24], raw_data=struct.pack("f", 1) * 2**24)
    path = written(folder, model(constant(external(DATA)), initializers=[large]))
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    assert files_beside(path) == (DATA,)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 2000


# ------------------------------------------------------------------------------------------------------- odd structures


def own_function(node):
    made = helper.make_function("own", "A", ["a"], ["b"], [node], [helper.make_opsetid("", 20)])
    return model(helper.make_node("A", ["x"], ["w"], domain="own"), functions=[made])


def calling_from_a_subgraph():
    inner = helper.make_graph([helper.make_node("A", [], ["w"], domain="own")], "body", [], [])
    return own_function(with_attribute(onnx.AttributeProto.GRAPH, "g", inner))


ENDLESS = {
    "itself": (lambda: calling(("A", ["A"])), "function 'A' calls itself"),
    "each other": (lambda: calling(("A", ["B"]), ("B", ["A"])), "calls itself"),
    "from a subgraph": (calling_from_a_subgraph, "function 'A' calls itself"),
    "doubling": (lambda: doubling(40), "more than 262144 nodes"),
    "deep": (lambda: calling(("F0", ["Neg"]), *((f"F{i}", [f"F{i - 1}"]) for i in range(1, 200))), "100 levels deep"),
}


@pytest.mark.parametrize(("make", "words"), ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_functions_that_come_to_no_end(folder, make, words, provider):
    refused(written(folder, make()), provider, words)


def test_functions_of_usual_size_run(folder):
    with open_session(written(folder, doubling(6)), provider="cpu") as session:
        np.testing.assert_array_equal(session.run({"x": np.ones((1, 4), np.float32)})["y"], [[2, 2, 2, 2]])


def test_operators_of_unknown_domains_are_named(folder):
    made = model(helper.make_node("Frobnicate", ["x"], ["w"], domain="com.example"))
    made.opset_import.append(helper.make_opsetid("com.example", 1))
    for provider in ("cpu", "openvino"):
        with pytest.raises(UnsupportedError, match=r"know one of its operators.*com.example.*Frobnicate"):
            open_session(written(folder, made), provider=provider)


@pytest.mark.parametrize(
    "change",
    [{"embed_mode": 1}, {"embed_mode": 0, "ep_cache_context": "../model.onnx_data"}, {"embed_mode": 0, "x": 1}],
)
def test_compiled_models_in_a_node_are_refused(folder, change):
    options = {"ep_cache_context": "model.onnx_data", "main_context": 1, "source": "X", **change}
    made = model(helper.make_node("EPContext", ["x"], ["w"], domain="com.microsoft", **options))
    refused(written(folder, made))


def test_a_hundred_thousand_nodes_are_read_in_seconds(folder):
    made = model(constant(external(DATA)))
    node = helper.make_node("Identity", ["x"], ["y"], name="a node").SerializeToString()
    made_graph = made.graph.SerializeToString() + field(1, node) * 100_000
    made.ClearField("graph")
    path = written(folder, made.SerializeToString() + field(7, made_graph))
    begun = time.process_time()
    assert [tensor.name for tensor in read_header(path).outputs] == ["y"]
    assert files_beside(path) == (DATA,)
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("inside", [True, False])
def test_weights_of_gigabytes_in_the_graph_are_a_sentence(folder, inside):
    head = model(constant(external(DATA))).SerializeToString()
    size = 3 * 2**30
    path = written(folder, head + varint(7 << 3 | 2) + varint(size) if inside else head)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + size)  # a hole
    refused(path, words="of at most 2147483647: store larger weights as external data")


def test_zeros_behind_a_graph_are_not_its_fields(folder):
    refused(written(folder, model(constant(external(DATA))).SerializeToString() + bytes(100)), words="not protobuf")


@pytest.mark.parametrize(
    "made",
    [
        lambda: model(constant(onnx.numpy_helper.from_array(np.arange(4)))),
        lambda: model(helper.make_node("Neg", ["b"], ["w"]), helper.make_node("Neg", ["w"], ["b"])),
        lambda: changed(ir_version=999),
        lambda: model(initializers=[TensorProto(name="w", data_type=1, dims=[4, 2**33], raw_data=b"1234")]),
    ],
)
def test_no_place_in_a_runtimes_source_is_told(folder, made):
    with pytest.raises(VitrifyError) as caught:
        open_session(written(folder, made()), provider="cpu")
    assert not re.search(r"\.cc|::|&&", str(caught.value))


def changed(**fields):
    made = model(constant(external(DATA)))
    for name, value in fields.items():
        setattr(made, name, value)
    return made
