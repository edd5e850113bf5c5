"""Pickled weights: converted in a child without network, refused when they hold anything but tensors."""

import errno
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from tests.checkpoints import make_checkpoint
from vitrify import export_bundle
from vitrify.export.checkpoint.pickled import safetensors_from_pickle
from vitrify.runtime.errors import IntegrityError, UnsupportedError, UsageError

SECONDS = 60
NOBODY = 65534
# Prints what a process can still reach after it gave up its network, with a server listening on port argv[1].
# A process that changes its user loses its own /proc/self until it declares itself dumpable (prctl 4) again.
PROBE = """
import ctypes, encodings.idna, os, socket, sys
from pathlib import Path
from vitrify.export.checkpoint.pickled import give_up_network
if user := int(sys.argv[3]):
    os.setgid(user)
    os.setuid(user)
    ctypes.CDLL(None).prctl(4, 1)
give_up_network()
for address in (("127.0.0.1", int(sys.argv[1])), ("192.0.2.1", 80)):
    try:
        socket.create_connection(address, timeout=5)
        print("reached", address)
    except OSError as error:
        print("refused", error.errno)
Path(sys.argv[2]).write_text("files can still be written")
"""


class Touch:
    """Unpickles by running a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = make_checkpoint("bert", "base", tmp_path_factory.mktemp("pickled") / "tiny")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").rename(folder.parent / "original.safetensors")
    return folder


def test_export_needs_permission_and_records_it(checkpoint, tmp_path):
    with pytest.raises(UnsupportedError, match="--allow-pickle"):
        export_bundle(checkpoint, tmp_path / "refused")
    report = export_bundle(checkpoint, tmp_path / "bundle", allow_pickle=True)
    assert report.passed
    assert report.bundle.source.pickle is True
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]


def test_the_same_weights_come_out(checkpoint, tmp_path):
    safetensors_from_pickle(checkpoint, tmp_path)
    converted, original = (
        load_file(tmp_path / "model.safetensors"),
        load_file(checkpoint.parent / "original.safetensors"),
    )
    assert converted.keys() == original.keys()
    assert all(torch.equal(converted[name], original[name]) for name in original)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_shards_with_tied_and_transposed_tensors(tmp_path):
    tied = torch.arange(6.0).reshape(2, 3)
    torch.save({"a": tied, "b": tied, "c": tied.T}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({"d": torch.ones(2, dtype=torch.int64)}, tmp_path / "pytorch_model-00002-of-00002.bin")
    names = {name: f"pytorch_model-0000{1 + (name == 'd')}-of-00002.bin" for name in "abcd"}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": names}))
    safetensors_from_pickle(tmp_path, tmp_path)
    found = load_file(tmp_path / "model.safetensors")
    assert torch.equal(found["a"], tied)
    assert torch.equal(found["b"], tied)
    assert torch.equal(found["c"], tied.T)
    assert found["d"].tolist() == [1, 1]


def malicious(folder):
    torch.save({"weight": Touch(folder / "touched")}, folder / "pytorch_model.bin")


def malicious_before_zip(folder):
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Touch(folder / "touched")))


def truncated(folder):
    torch.save({"weight": torch.ones(1000)}, folder / "pytorch_model.bin")
    whole = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(whole[: len(whole) // 2])


def empty(folder):
    (folder / "pytorch_model.bin").touch()


def nested(folder):
    torch.save({"model": {"weight": torch.ones(1)}}, folder / "pytorch_model.bin")


def an_index_that_leaves_the_folder(folder):
    torch.save({"weight": torch.ones(1)}, folder / "outside.bin")
    (folder / "pytorch_model.bin.index.json").write_text('{"weight_map": {"weight": "../outside.bin"}}')


def an_index_of_a_missing_shard(folder):
    (folder / "pytorch_model.bin.index.json").write_text('{"weight_map": {"weight": "shard.bin"}}')


def an_index_that_is_none(folder):
    (folder / "pytorch_model.bin.index.json").write_text("[]")


@pytest.mark.parametrize(
    "spoil",
    [
        malicious,
        malicious_before_zip,
        truncated,
        empty,
        nested,
        an_index_that_leaves_the_folder,
        an_index_of_a_missing_shard,
        an_index_that_is_none,
    ],
)
def test_what_is_no_table_of_tensors_is_refused(tmp_path, spoil):
    spoil(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(IntegrityError, match=r"pytorch_model\.bin") as caught:
        safetensors_from_pickle(tmp_path, out)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "touched").exists()
    assert not list(out.iterdir())


def test_the_malicious_pickle_is_one(tmp_path):
    malicious_before_zip(tmp_path)
    pickle.loads((tmp_path / "pytorch_model.bin").read_bytes())
    assert (tmp_path / "touched").exists()


def test_no_weights_at_all(tmp_path):
    with pytest.raises(UsageError, match="contains no weights"):
        safetensors_from_pickle(tmp_path, tmp_path)


@pytest.mark.parametrize("user", [0, NOBODY], ids=["this user", "an unprivileged one"])
def test_the_child_has_no_network(tmp_path, user):
    if user and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder = tmp_path / "out"
    folder.mkdir()
    folder.chmod(0o777)
    # Up to the temporary folder of all: processes that share the tests have one more each.
    for parent in (tmp_path, *list(tmp_path.parents)[:3]):
        if parent == Path(tempfile.gettempdir()):
            break
        parent.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        words = [sys.executable, "-c", PROBE, str(port), str(folder / "written"), str(user)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["refused", "refused"]
    assert (folder / "written").exists()


def test_a_kernel_without_namespaces_takes_the_sockets_away(tmp_path):
    """A limit of zero is what containers that allow no namespaces do; the filter then stands in."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare(1) to set a limit of its own")
    script = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
    words = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", sys.executable, "-c", PROBE]
    done = subprocess.run(
        [*words, "1", str(tmp_path / "written"), "0"], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if "max_net_namespaces" in done.stderr:
        pytest.skip("this kernel keeps the limit from us")
    assert done.stdout.splitlines() == [f"refused {errno.EPERM}"] * 2, done.stderr
    assert (tmp_path / "written").exists()


def test_the_filter_holds_in_every_thread_and_lets_torch_work():
    program = """
import socket, threading
go, said = threading.Event(), []
def attempt():
    go.wait()
    try:
        socket.socket()
    except PermissionError:
        said.append("refused")
thread = threading.Thread(target=attempt)
thread.start()
from vitrify.export.checkpoint.seccomp import take_sockets_away
assert take_sockets_away()
go.set()
thread.join()
import torch
print(*said, int((torch.ones(300, 300) @ torch.ones(300, 300))[0, 0]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.stdout == "refused 300\n", done.stderr


def expanded(folder):
    torch.save({"weight": torch.ones(1).expand(10**8)}, folder / "pytorch_model.bin")


def one_place_under_many_names(folder):
    torch.save(dict.fromkeys("abcdefgh", torch.ones(10**5)), folder / "pytorch_model.bin")


def compressed(folder):
    torch.save({"weight": torch.zeros(10**6)}, folder / "plain")
    target = folder / "pytorch_model.bin"
    with zipfile.ZipFile(folder / "plain") as plain, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for item in plain.infolist():
            packed.writestr(item.filename, plain.read(item))


def sparse(folder):
    torch.save({"weight": torch.eye(3).to_sparse()}, folder / "pytorch_model.bin")


@pytest.mark.parametrize("spoil", [expanded, one_place_under_many_names, compressed, sparse])
def test_what_is_larger_than_its_file_is_refused(tmp_path, spoil):
    spoil(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(IntegrityError, match="do not trust it"):
        safetensors_from_pickle(tmp_path, out)
    assert not list(out.iterdir())


def test_four_tied_embeddings_are_no_bomb(tmp_path):
    torch.save(dict.fromkeys("abcd", torch.ones(10**5)), tmp_path / "pytorch_model.bin")
    safetensors_from_pickle(tmp_path, tmp_path)
    assert sorted(load_file(tmp_path / "model.safetensors")) == list("abcd")
