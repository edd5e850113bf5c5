"""Checkpoints and bundles from the Hub, against a loopback server; every client is a process of its own."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import SECONDS, run_vitrify
from tests.hub_clients import client_of
from tests.hub_server import Repository, repository_of, serving
from vitrify import load_bundle

BLOCK = 10 * 2**20
BIG = bytes(range(256)) * (BLOCK // 256 * 5 // 2)
SMALL = {"config.json": b"{}", "tokenizer.json": b"{ }", "CHANGES.md": b"# a model", "onnx/config.json": b"{}"}
PLAIN = Repository({**SMALL, "model.safetensors": b"weights"}, frozenset({"model.safetensors"}))
WITH_BIG = Repository({**SMALL, "model.safetensors": BIG}, frozenset({"model.safetensors"}))


@pytest.fixture
def connect(tmp_path):
    """Return a function from a server to a client of it whose caches are empty at first."""
    return lambda hub: client_of(hub.url, tmp_path)


def names_in(found):
    return sorted(path.name for path in Path(found["folder"]).iterdir())


# ----------------------------------------------------------------------------------------------------------- downloads


def test_a_checkpoint_is_downloaded_once_and_then_works_offline(connect):
    with serving({"owner/tiny": PLAIN}) as hub:
        client = connect(hub)
        found = client.resolve("owner/tiny")
        assert found["revision"] == PLAIN.commit
        assert found["id"] == "owner/tiny"
        assert names_in(found) == ["config.json", "model.safetensors", "tokenizer.json"]
        assert not hub.downloaded("CHANGES.md")
        assert len(hub.downloads) == 3
        hub.requests.clear()
        assert client.resolve("owner/tiny") == found
        assert not hub.downloads
        hub.requests.clear()
        assert client.resolve("owner/tiny", offline=True) == found
        assert client.resolve("owner/tiny", local_files_only=True) == found
        assert not hub.requests


def test_a_branch_becomes_its_commit(connect):
    tuned = Repository({**PLAIN.files, "config.json": b'{"tuned": true}'}, PLAIN.large, branches=("tuned",))
    with serving({"owner/tiny": [tuned, PLAIN]}) as hub:
        client = connect(hub)
        found = client.resolve("owner/tiny", revision="tuned")
        assert found["revision"] == tuned.commit != PLAIN.commit
        assert "tuned" in Path(found["folder"], "config.json").read_text()
        assert client.resolve("owner/tiny", revision="tuned", offline=True) == found
        assert client.resolve("owner/tiny", revision=tuned.commit, offline=True) == found
        assert client.resolve("owner/tiny", offline=True)["error"] == "EnvironmentMissing"


def test_an_incomplete_cache_is_said_offline_and_completed_online(connect):
    with serving({"owner/tiny": PLAIN}) as hub:
        client = connect(hub)
        found = client.resolve("owner/tiny")
        Path(found["folder"], "config.json").unlink()
        refused = client.resolve("owner/tiny", offline=True)
        assert refused["error"] == "EnvironmentMissing"
        assert "only a part" in refused["said"]
        assert client.resolve("owner/tiny") == found
        assert client.resolve("owner/tiny", offline=True) == found


def index_of(shards):
    return json.dumps({"metadata": {}, "weight_map": {f"layer.{name}": name for name in shards}}).encode()


def test_shards(connect):
    shards = {f"model-0000{index}-of-00002.safetensors": b"shard %d" % index for index in (1, 2)}
    files = {**SMALL, **shards, "model.safetensors.index.json": index_of(shards), "model.fp16.safetensors": b"other"}
    with serving({"owner/tiny": Repository(files, frozenset(shards))}) as hub:
        found = connect(hub).resolve("owner/tiny")
        assert names_in(found) == sorted([*shards, "config.json", "model.safetensors.index.json", "tokenizer.json"])


def test_a_private_repository_needs_its_token(connect):
    private = Repository(WITH_BIG.files, WITH_BIG.large, token="hf_right")
    with serving({"owner/tiny": private}) as hub:
        client = connect(hub)
        for token in (None, "hf_wrong"):
            refused = client.resolve("owner/tiny", token=token)
            assert refused["error"] == "UsageError"
            assert "log in" in refused["said"]
        assert client.resolve("owner/tiny", token="hf_right")["revision"] == private.commit
        assert not [request for request in hub.requests if "/store/" in request.path and request.authorized]


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("name", "options", "error", "said"),
    [
        ("owner/absent", {}, "UsageError", "'owner/absent'"),
        ("owner/tiny", {"revision": "absent"}, "UsageError", "no revision 'absent'"),
        ("owner/tiny", {"revision": "../../main"}, "UsageError", "not a revision"),
        ("owner/gated", {}, "UsageError", "accept its terms"),
        ("owner/empty", {}, "UsageError", "no model.safetensors"),
        ("owner/tiny", {"local_files_only": True}, "EnvironmentMissing", "no cached copy"),
        ("owner/outside", {}, "IntegrityError", "../../outside.json"),
        ("no such/folder/here", {}, "UsageError", "neither a folder nor a Hub id"),
    ],
)
def test_refusals_are_one_sentence(connect, name, options, error, said):
    repositories = {
        "owner/tiny": PLAIN,
        "owner/gated": Repository(PLAIN.files, PLAIN.large, gated=True),
        "owner/empty": Repository(SMALL),
        "owner/outside": Repository({"bundle.json": b"{}", "../../outside.json": b"{}"}),
    }
    with serving(repositories) as hub:
        found = connect(hub).resolve(name, **options)
        assert found["error"] == error
        assert said in found["said"]
        assert not hub.downloads


def test_a_server_that_is_not_there(connect):
    with serving({"owner/tiny": PLAIN}) as hub:
        client = connect(hub)
    found = client.resolve("owner/tiny")
    assert found["error"] == "EnvironmentMissing"
    assert "HF_HUB_OFFLINE" in found["said"]


def test_pickled_weights_are_refused_before_they_travel_and_taken_when_allowed(connect):
    pickled = Repository({**SMALL, "pytorch_model.bin": b"pickle"}, frozenset({"pytorch_model.bin"}))
    with serving({"owner/tiny": pickled}) as hub:
        client = connect(hub)
        refused = client.resolve("owner/tiny")
        assert refused["error"] == "UnsupportedError"
        assert "--allow-pickle" in refused["said"]
        assert not hub.downloads
        assert not hub.downloaded("pytorch_model.bin")
        assert names_in(client.resolve("owner/tiny", allow_pickle=True)) == [
            "config.json",
            "pytorch_model.bin",
            "tokenizer.json",
        ]


def test_safetensors_are_preferred_to_pickles(connect):
    both = Repository({**PLAIN.files, "pytorch_model.bin": b"pickle"}, PLAIN.large)
    with serving({"owner/tiny": both}) as hub:
        assert "pytorch_model.bin" not in names_in(connect(hub).resolve("owner/tiny", allow_pickle=True))
        assert not hub.downloaded("pytorch_model.bin")


# -------------------------------------------------------------------------------------------------------- interruptions


def weights_in(found):
    return Path(found["folder"], "model.safetensors").read_bytes()


def test_a_cut_connection_is_resumed(connect):
    with serving({"owner/tiny": WITH_BIG}) as hub:
        hub.cuts[WITH_BIG.sha256("model.safetensors")] = BLOCK + 12345
        found = connect(hub).resolve("owner/tiny")
        assert weights_in(found) == BIG
        pieces = [request for request in hub.downloads if "/store/" in request.path]
        assert [piece.range for piece in pieces] == [None, f"bytes={BLOCK + 12345}-"]


def test_a_killed_download_is_resumed_by_the_next_run(connect):
    with serving({"owner/tiny": WITH_BIG}) as hub:
        client = connect(hub)
        there = 2 * BLOCK + 12345
        hub.stalls[WITH_BIG.sha256("model.safetensors")] = there
        first = subprocess.Popen(client.command("owner/tiny", {}), env=client.env, stdout=subprocess.DEVNULL)
        assert hub.stalled.wait(SECONDS)
        wait_for_bytes(client, there)
        first.send_signal(signal.SIGKILL)
        first.wait()
        hub.released.set()
        assert client.resolve("owner/tiny", offline=True)["error"] == "EnvironmentMissing"
        assert weights_in(client.resolve("owner/tiny")) == BIG
        again = [request for request in hub.downloads if "/store/" in request.path and request.sent < 2 * BLOCK]
        assert [(piece.range, piece.sent) for piece in again] == [(f"bytes={there}-", len(BIG) - there)]


def wait_for_bytes(client, count):
    """Wait until a partial file on disk has that many bytes: what was sent is not yet what was written."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        sizes = [path.stat().st_size for path in Path(client.env["HF_HOME"]).rglob("partial/*")]
        if max(sizes, default=0) >= count:
            return
        time.sleep(0.05)
    raise AssertionError("the download wrote nothing")


def test_content_that_is_not_what_was_announced(connect):
    spoiled = Repository(WITH_BIG.files, WITH_BIG.large, sent={"model.safetensors": b"spoiled" + BIG[7:]})
    with serving({"owner/tiny": spoiled}) as hub:
        found = connect(hub).resolve("owner/tiny")
    assert found["error"] == "IntegrityError"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_more_than_was_announced_is_cut_and_not_kept(connect, tmp_path, name):
    endless = Repository(WITH_BIG.files, WITH_BIG.large, sent={name: bytes(40 * 2**20)})
    with serving({"owner/tiny": endless}) as hub:
        found = connect(hub).resolve("owner/tiny")
    assert found["error"] == "IntegrityError"
    assert "more than the" in found["said"]
    assert all(path.stat().st_size <= len(BIG) for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("spoilt", ["size", "name", "deep", "list", "digest", "no digest"])
def test_an_answer_of_other_types(connect, spoilt):
    with serving({"owner/tiny": WITH_BIG}) as hub:
        hub.spoils = spoilt
        found = connect(hub).resolve("owner/tiny")
    assert found["error"] in {"IntegrityError", "EnvironmentMissing", "UsageError"}


# -------------------------------------------------------------------------------------------------------------- bundles


def test_a_bundle_becomes_real_files_that_open(connect, exported):
    bundle = repository_of(exported.bundle)
    with serving({"owner/bundle": bundle}) as hub:
        client = connect(hub)
        found = client.resolve("owner/bundle", revision="main")
        assert found["revision"] == bundle.commit
        assert client.resolve("owner/bundle", offline=True) == found
        hub.requests.clear()
        assert client.resolve("owner/bundle") == found
        assert not hub.downloads
    loaded = load_bundle(found["folder"])
    assert loaded.tokenizer is not None
    assert loaded.model(**loaded.tokenizer(["a b"])).last_hidden_state.shape[0] == 1
    names = {path.relative_to(exported.bundle) for path in exported.bundle.rglob("*") if path.is_file()}
    assert all((Path(found["folder"]) / name).is_file() for name in names)
    assert not [path for path in Path(found["folder"]).rglob("*") if path.is_symlink()]


def test_a_bundles_large_files_travel_once(connect):
    files = {"bundle.json": b"{}", "onnx/model.onnx_data": BIG, "onnx/model.onnx": b"graph"}
    bundle = Repository(files, frozenset(name for name in files if name.startswith("onnx/")))
    with serving({"owner/bundle": bundle}) as hub:
        hub.cuts[bundle.sha256("onnx/model.onnx_data")] = BLOCK
        client = connect(hub)
        found = client.resolve("owner/bundle")
        assert client.resolve("owner/bundle") == found
        assert sum(request.sent for request in hub.downloads) == sum(map(len, files.values()))
    for name, content in files.items():
        assert Path(found["folder"], name).read_bytes() == content
        assert not Path(found["folder"], name).is_symlink()


def test_export_from_the_command_line_records_id_and_commit(connect, exported, tmp_path):
    checkpoint = repository_of(exported.checkpoint)
    with serving({"owner/tiny": checkpoint}) as hub:
        env = connect(hub).env
        done = run_vitrify("export", "owner/tiny", "-o", tmp_path / "out", "--revision", "main", "--json", env=env)
    assert done.code == 0, done.err
    assert done.document["passed"]
    assert done.err == ""
    source = json.loads((tmp_path / "out" / "bundle.json").read_text())["source"]
    assert source["id"] == "owner/tiny"
    assert source["revision"] == checkpoint.commit


# --------------------------------------------------------------------------------------------------------- odd machines


def test_a_cache_that_is_mounted_read_only_serves_what_it_holds(connect):
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare(1) to mount")
    with serving({"owner/tiny": PLAIN}) as hub:
        client = connect(hub)
        client.resolve("owner/tiny", revision=PLAIN.commit)
        home = client.env["HF_HOME"]
        mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
        words = ["unshare", "-m", "sh", "-c", mount, home, *client.command("owner/tiny", {})]
        done = subprocess.run(words, env=client.env, capture_output=True, text=True, timeout=SECONDS, check=False)
    if "mount" in done.stderr:
        pytest.skip("this kernel lets us mount nothing")
    assert json.loads(done.stdout)["revision"] == PLAIN.commit


def test_a_server_that_is_no_hub(tmp_path):
    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_, **__):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        found = client_of(f"http://127.0.0.1:{server.server_port}", tmp_path).resolve("owner/tiny")
        server.shutdown()
    assert found["error"] == "EnvironmentMissing"
    assert "HF_ENDPOINT" in found["said"]


def test_brackets_in_a_name_are_no_pattern(connect):
    files = {**PLAIN.files, "vocab[1].txt": b"a"}
    with serving({"owner/tiny": Repository(files, PLAIN.large)}) as hub:
        assert "vocab[1].txt" in names_in(connect(hub).resolve("owner/tiny"))


# ------------------------------------------------------------------------------------------ sentence-transformers


def test_modules_with_weights_of_their_own_are_downloaded_and_work_offline(connect):
    kind = "sentence_transformers.models."
    rows = [("0_Transformer", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense")]
    listing = [{"idx": i, "name": str(i), "path": path, "type": kind + name} for i, (path, name) in enumerate(rows)]
    wanted = {
        "modules.json": json.dumps(listing).encode(),
        "0_Transformer/config.json": b"{}",
        "0_Transformer/model.safetensors": b"weights",
        "1_Pooling/config.json": b"{}",
        "2_Dense/config.json": b"{}",
        "2_Dense/model.safetensors": b"more weights",
    }
    unwanted = {"2_Dense/pytorch_model.bin": b"pickle", "0_Transformer/pytorch_model.bin": b"pickle"}
    with serving({"owner/tiny": Repository({**wanted, **unwanted})}) as hub:
        client = connect(hub)
        found = client.resolve("owner/tiny")
        folder = Path(found["folder"])
        assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(wanted)
        assert client.resolve("owner/tiny", offline=True) == found
