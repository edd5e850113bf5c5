import subprocess
import sys

import pytest

from benchmarks.peers import environments
from benchmarks.peers.environments import Peer, find_peer, read_peers, set_up
from vitrify.bench.process import BackendError


def test_every_peer_pins_what_it_installs():
    peers = read_peers()
    assert {"vitrify", "pytorch", "onnxruntime-genai", "llama-cpp", "ctranslate2", "faster-whisper"} <= set(peers)
    assert {"optimum-onnx", "openvino", "sentence-transformers", "fastembed", "transformers-exporter"} <= set(peers)
    for peer in peers.values():
        assert all("==" in package for package in peer.packages)
        names = {package.split("==")[0] for package in peer.packages}
        assert set(peer.source) <= names
        assert set(peer.shown) <= names | {"vitrify"}


def test_a_peer_without_packages_runs_here():
    assert find_peer("pytorch").python() == sys.executable


def test_an_unknown_peer_is_named_beside_those_there_are():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers.environments", "llama"],
        cwd=environments.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("no peer 'llama' (there are: vitrify, pytorch, ")


def test_an_environment_of_other_pins_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path)
    peer = Peer("some", "module", packages=["a==1"])
    with pytest.raises(BackendError, match=r"not installed: run \./dev peer some"):
        peer.python()
    peer.environment.mkdir()
    (peer.environment / ".made-from").write_text(Peer("some", "module", packages=["a==2"]).key)
    with pytest.raises(BackendError, match="installed in other versions than"):
        peer.python()
    (peer.environment / ".made-from").write_text(peer.key)
    assert peer.python() == str(tmp_path / "some" / "bin" / "python")


def test_what_does_not_install_says_why(tmp_path, monkeypatch):
    def create(folder, *, clear, with_pip):
        assert clear
        assert with_pip
        (folder / "bin").mkdir(parents=True)
        script = folder / "bin" / "python"
        script.write_text("#!/bin/sh\necho $CMAKE_ARGS: $* >&2; echo ERROR: No matching distribution >&2; exit 1\n")
        script.chmod(0o755)

    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(environments.venv, "create", create)
    peer = Peer("some", "module", packages=["no-such-package==1.0"])
    with pytest.raises(BackendError, match="did not install: ERROR: No matching distribution"):
        set_up(peer)
    with pytest.raises(BackendError, match="not installed"):
        peer.python()


def test_an_environment_that_was_never_finished_is_made_again(tmp_path, monkeypatch):
    create = environments.venv.create
    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(environments.venv, "create", lambda folder, clear, **_: create(folder, clear=clear))
    peer = Peer("some", "module", packages=["no-such-package==1.0"])
    create(peer.environment)
    (peer.environment / "left").touch()
    with pytest.raises(BackendError, match=r"did not install: .*No module named pip"):
        set_up(peer)
    assert not (peer.environment / "left").exists()


def test_switches_are_on_where_the_cpu_has_the_feature():
    peer = Peer("some", "module", cmake={"GGML_AVX9": "avx9", "GGML_ANY": next(iter(_features()))})
    assert peer.switches == ["-DGGML_AVX9=OFF", "-DGGML_ANY=ON"]


def _features():
    from vitrify.runtime.machine import this_machine

    return sorted(this_machine().cpu_features)
