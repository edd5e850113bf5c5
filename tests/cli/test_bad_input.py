"""Whatever is wrong with an input, a bundle or a checkpoint: one clear line, the right exit code, no rests."""

import json
import os
import shutil
import struct
import sys
import zlib

import numpy as np
import onnx
import pytest
from safetensors.numpy import save_file

from tests.conftest import Finished
from tests.refusals import assert_holds, assert_refused
from vitrify import cli
from vitrify.runtime.bundle.digests import file_digest

SECONDS = 60
EXTRACT = ("run", "feature-extraction", "-m")


@pytest.fixture
def command(capsys, monkeypatch):
    """Run `vitrify words` in this process, as the console script does; None of its errors may be a traceback."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["vitrify", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return Finished(int(left.value.code or 0), out, err)

    return run


@pytest.fixture
def bundle(exported, tmp_path):
    """Return a copy of the bundle that a test may break."""
    return shutil.copytree(exported.bundle, tmp_path / "bundle")


@pytest.fixture
def checkpoint(exported, tmp_path):
    """Return a copy of the checkpoint that a test may break."""
    return shutil.copytree(exported.checkpoint, tmp_path / "checkpoint")


def edit_manifest(bundle, change):
    content = json.loads((bundle / "bundle.json").read_text())
    change(content)
    (bundle / "bundle.json").write_text(json.dumps(content))


def sign(bundle):
    """Make every digest of the manifest right again."""

    def renew(content):
        content["files"] = {name: file_digest(bundle / name) for name in content["files"]}

    edit_manifest(bundle, renew)


# -------------------------------------------------------------------------------------------------------- tasks, texts


@pytest.mark.parametrize(
    ("task", "code", "said"),
    [
        ("text-clasification", 2, "Did you mean 'text-classification'?"),
        ("object-detection", 6, "text-classification"),
        ("question-answering", 2, "feature-extraction"),
        ("image-feature-extraction", 2, "feature-extraction"),
    ],
)
def test_a_task_that_is_unknown_or_not_served(command, exported, task, code, said):
    assert_refused(command("run", task, "-m", exported.bundle, "text"), code, task, said)


@pytest.mark.parametrize("task", ["text-classification", "question-answering", "image-feature-extraction"])
def test_a_task_that_the_checkpoint_has_no_head_for(command, checkpoint, tmp_path, task):
    assert_refused(command("export", checkpoint, "-o", tmp_path / "out", "--task", task), 2, task)
    assert_holds(tmp_path, "checkpoint")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b" \n", "is empty"), (b"caf\xe9 au lait", "not UTF-8"), (b"\xff\xfe", "UTF-8")],
)
def test_a_file_that_holds_no_text(command, exported, tmp_path, content, said):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    assert_refused(command(*EXTRACT, exported.bundle, path), 2, said, str(path))


def test_a_text_longer_than_the_model_takes(command, exported):
    text = "a long text " * 100
    (refused,) = command(*EXTRACT, exported.bundle, text).err.splitlines()
    assert refused.startswith("vitrify: ")
    assert "truncation=True, max_length=128" in refused
    done = command(*EXTRACT, exported.bundle, text, "--param", "truncation=true")
    assert done.code == 0
    assert np.shape(json.loads(done.out)) == (1, 128, 32)


# -------------------------------------------------------------------------------------------------------------- images


def png_header(width, height):
    """Return a PNG that says how large it is and holds one row."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    size = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + size + chunk(b"IDAT", zlib.compress(bytes(3 * width + 1))) + chunk(b"IEND", b"")


@pytest.fixture
def image_bundle(bundle):
    """Make the bundle pretend to take images: what is wrong with an image is found before a graph runs."""
    processor = {"image_processor_type": "ViTImageProcessor", "do_resize": False}
    (bundle / "preprocessor_config.json").write_text(json.dumps(processor))

    def pretend(content):
        content["tasks"] = ["image-feature-extraction"]
        pixels = {"name": "pixel_values", "dtype": "float32", "axes": ["batch", 3, "height", "width"]}
        content["graphs"]["model"]["inputs"] = [pixels]
        content["files"]["preprocessor_config.json"] = ""

    edit_manifest(bundle, pretend)
    sign(bundle)
    return bundle


IMAGES = {
    "text": (b"no image at all", "not an image"),
    "empty": (b"", "is empty"),
    "truncated": (b"\x89PNG\r\n\x1a\n\x00\x00", "image"),
    "30,000 x 30,000": (png_header(30_000, 30_000), "900000000 pixels"),
    "a bomb for Pillow": (png_header(13_000, 13_800), "179400000 pixels"),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_that_is_none_or_too_large(command, image_bundle, tmp_path, kind):
    content, said = IMAGES[kind]
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    assert_refused(command("run", "image-feature-extraction", "-m", image_bundle, path), 2, said)


@pytest.mark.parametrize(
    "source", ["nowhere.png", "ftp://example.org/a.png", "data:image/png;base64,%%%", "file:///etc/hosts"]
)
def test_an_image_that_is_not_there(command, image_bundle, source):
    assert_refused(command("run", "image-feature-extraction", "-m", image_bundle, source), 2, source[:3])


# ------------------------------------------------------------------------------------------------------------- bundles


FILES = ("config.json", "onnx/model.onnx", "onnx/model.onnx_data", "parity/cases.safetensors", "tokenizer.json")
READ_BY_RUN = ("onnx/model.onnx", "onnx/model.onnx_data", "tokenizer.json")


@pytest.mark.parametrize("name", FILES)
def test_one_byte_changed(command, bundle, name):
    path = bundle / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert_refused(command("verify", bundle), 7, name, "sha256")
    if name in READ_BY_RUN:
        assert_refused(command(*EXTRACT, bundle, "text"), 7, name, "sha256")


def test_every_kind_of_file_was_changed(exported):
    listed = json.loads((exported.bundle / "bundle.json").read_text())["files"]
    assert set(listed) - {"tokenizer_config.json"} == set(FILES)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["missing", "link"])
def test_a_file_that_is_missing_or_a_link(command, bundle, tmp_path, name, how):
    path = bundle / name
    elsewhere = path.rename(tmp_path / "elsewhere")
    if how == "link":
        path.symlink_to(elsewhere)
    assert_refused(command("verify", bundle), 7, name, how)
    assert_refused(command(*EXTRACT, bundle, "text"), 7, name, how)


def test_a_folder_that_is_a_link(command, bundle, tmp_path):
    (bundle / "onnx").rename(tmp_path / "elsewhere")
    (bundle / "onnx").symlink_to(tmp_path / "elsewhere")
    assert_refused(command(*EXTRACT, bundle, "text"), 7, "onnx", "link")


def _drop_the_graph_from_the_files(content):
    del content["files"]["onnx/model.onnx"]


CHANGES = {
    "unknown key": (lambda content: content.update(colour="red"), "colour"),
    "missing key": (lambda content: content.pop("graphs"), "graphs"),
    "schema of the future": (lambda content: content.update(schema=99), "schema 99"),
    "unknown key of a profile": (lambda content: content["builds"]["cpu-fp32"]["profile"].update(colour=1), "colour"),
    "unknown provider": (lambda content: content["builds"]["cpu-fp32"]["profile"].update(provider="x"), "provider"),
    "path upwards": (lambda content: content["files"].update({"../elsewhere": "0" * 64}), "leaves its folder"),
    "absolute path": (lambda content: content["files"].update({"/etc/hostname": "0" * 64}), "leaves its folder"),
    "graph upwards": (lambda content: content["builds"]["cpu-fp32"]["graphs"].update(model="../m.onnx"), "m.onnx"),
    "graph not listed": (_drop_the_graph_from_the_files, "onnx/model.onnx"),
    "no graph": (lambda content: content["builds"]["cpu-fp32"]["graphs"].clear(), "builds.cpu-fp32.graphs has none"),
    "wrong type": (lambda content: content.update(files=[1]), "bundle.json"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_manifest_that_was_changed(command, bundle, change):
    edit, said = CHANGES[change]
    edit_manifest(bundle, edit)
    assert_refused(command(*EXTRACT, bundle, "text"), 7, said)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xff", b"null", b"[" * 100_000])
def test_a_manifest_that_is_none(command, bundle, content):
    (bundle / "bundle.json").write_bytes(content)
    assert_refused(command("info", bundle), 7, "bundle.json")


@pytest.mark.parametrize("location", ["../../elsewhere", "ABSOLUTE"])
def test_external_data_outside_the_folder(command, bundle, tmp_path, location):
    outside = tmp_path / "elsewhere"
    shutil.copyfile(bundle / "onnx" / "model.onnx_data", outside)
    graph = onnx.load(bundle / "onnx" / "model.onnx", load_external_data=False)
    entries = [entry for tensor in graph.graph.initializer for entry in tensor.external_data if entry.key == "location"]
    assert entries
    for entry in entries:
        entry.value = str(outside) if location == "ABSOLUTE" else location
    onnx.save(graph, bundle / "onnx" / "model.onnx")
    sign(bundle)
    assert_refused(command(*EXTRACT, bundle, "text"), 7, "model.onnx")


@pytest.mark.parametrize("name", ["tokenizer.json", "onnx/model.onnx", "onnx/model.onnx_data"])
def test_a_truncated_file_with_the_right_digest(command, bundle, name):
    os.truncate(bundle / name, (bundle / name).stat().st_size // 2)
    sign(bundle)
    assert_refused(command(*EXTRACT, bundle, "text"), 7, name.rpartition("/")[2].removesuffix("_data"))


# --------------------------------------------------------------------------------------------------------- checkpoints


QUANTIZED = {
    "gptq": {"quant_method": "gptq", "bits": 4},
    "awq": {"quant_method": "awq", "bits": 4},
    "fp8": {"quant_method": "fp8"},
    "mxfp4": {"quant_method": "mxfp4"},
    "bitsandbytes": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
}


@pytest.mark.parametrize("method", QUANTIZED)
def test_a_checkpoint_that_is_quantized_already(command, checkpoint, tmp_path, method):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "quantization_config": QUANTIZED[method]}))
    assert_refused(command("export", checkpoint, "-o", tmp_path / "out"), 6, method, "quantized")
    assert_holds(tmp_path, "checkpoint")


@pytest.mark.parametrize("with_config", [True, False])
def test_a_folder_of_gguf_or_an_adapter(command, exported, tmp_path, with_config):
    for kind, files in {"GGUF": ["model.gguf"], "PEFT": ["adapter_config.json", "adapter_model.safetensors"]}.items():
        folder = tmp_path / kind
        folder.mkdir()
        for name in files:
            (folder / name).write_text("{}")
        if with_config:
            shutil.copyfile(exported.checkpoint / "config.json", folder / "config.json")
        assert_refused(command("export", folder, "-o", tmp_path / "out"), 6, kind)
    assert_holds(tmp_path, "GGUF", "PEFT")


def _half(path):
    os.truncate(path, path.stat().st_size // 2)


def _remove_tokenizer(path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (path.parent / name).unlink()


BROKEN = {
    "half of the weights": ("model.safetensors", _half, 7),
    "no weights at all": ("model.safetensors", lambda path: path.write_bytes(b""), 7),
    "a header of 2**60 bytes": ("model.safetensors", lambda path: path.write_bytes(struct.pack("<Q", 1 << 60)), 7),
    "half a tokenizer": ("tokenizer.json", _half, 7),
    "no tokenizer": ("tokenizer.json", _remove_tokenizer, 2),
    "half a config": ("config.json", _half, 7),
    "a config that is a list": ("config.json", lambda path: path.write_text("[]"), 7),
    "no config": ("config.json", lambda path: path.unlink(), 2),
    "no weights": ("model.safetensors", lambda path: path.unlink(), 2),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_checkpoint_that_is_broken(command, checkpoint, tmp_path, what):
    name, breaks, code = BROKEN[what]
    breaks(checkpoint / name)
    assert_refused(command("export", checkpoint, "-o", tmp_path / "out"), code, name)
    assert_holds(tmp_path, "checkpoint")


def test_a_checkpoint_that_lacks_weights(command, checkpoint, tmp_path):
    save_file({"unrelated": np.zeros(3, np.float32)}, checkpoint / "model.safetensors", metadata={"format": "pt"})
    assert_refused(command("export", checkpoint, "-o", tmp_path / "out"), 2, "lacks weights", "BertModel")
    assert_holds(tmp_path, "checkpoint")
