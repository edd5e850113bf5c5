"""Snapshots in huggingface_hub's cache are links: they are read as real files, and none leads out of its repository."""

from pathlib import Path

import pytest

from vitrify.runtime.bundle.snapshots import real_snapshot
from vitrify.runtime.errors import IntegrityError

COMMIT = "0123456789" * 4
BUNDLE = ("bundle.json", "config.json", "onnx/model.onnx", "onnx/model.onnx_data")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRIFY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hub" / "owner--name" / COMMIT


@pytest.fixture
def snapshot(tmp_path):
    def make(*names):
        repository = tmp_path / "models--owner--name"
        folder = repository / "snapshots" / COMMIT
        (repository / "blobs").mkdir(parents=True)
        for index, name in enumerate(names):
            blob, path = repository / "blobs" / f"{index:064}", folder / name
            blob.write_text(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(Path(*[".."] * (2 + name.count("/")), "blobs", blob.name))
        return folder

    return make


def listing(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_a_bundle_of_links_becomes_one_of_files(snapshot, cache):
    folder = snapshot(*BUNDLE)
    assert real_snapshot(folder) == cache
    assert listing(cache) == sorted(BUNDLE)
    assert all((cache / name).read_text() == name and not (cache / name).is_symlink() for name in BUNDLE)
    (cache / "config.json").unlink()
    assert (real_snapshot(folder) / "config.json").is_file()


def test_of_an_onnx_folder_the_precision_that_runs_is_copied(snapshot, cache):
    graphs = [f"onnx/model{suffix}.onnx" for suffix in ("", "_fp16", "_qint8_avx512")]
    folder = snapshot("config.json", "model.safetensors", *graphs, "onnx/model.onnx_data")
    real_snapshot(folder)
    assert listing(cache) == ["config.json", "onnx/model.onnx", "onnx/model.onnx_data"]
    real_snapshot(folder, "qint8_avx512")
    assert "onnx/model_qint8_avx512.onnx" in listing(cache)


@pytest.mark.parametrize("target", ["/etc/hostname", "../../../secret", "../../blobs/gone"])
def test_a_link_that_leads_elsewhere_is_refused(snapshot, cache, tmp_path, target):
    (tmp_path / "secret").write_text("private")
    folder = snapshot(*BUNDLE)
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(target)
    with pytest.raises(IntegrityError, match="is a link"):
        real_snapshot(folder)
    assert not (cache / "config.json").exists()


def test_other_folders_stay_as_they_are(snapshot, cache, tmp_path):
    folder = snapshot(*BUNDLE)
    (tmp_path / "copy").symlink_to(folder)
    assert real_snapshot(tmp_path / "copy") == tmp_path / "copy"
    for name in BUNDLE:
        (folder / name).unlink()
        (folder / name).write_text("a real file")
    assert real_snapshot(folder) == folder
    assert not cache.exists()
