"""The bundles that others run and the interpreter of optimum-onnx, shared by the files of this folder."""

import shutil

import filelock
import pytest

from benchmarks.peers.environments import ENVIRONMENTS, find_peer, set_up
from tests.interop.exported import Bundles


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interop")
    yield Bundles(folder)
    shutil.rmtree(folder)  # the real ones are large


@pytest.fixture(scope="session")
def python():
    """The interpreter of optimum-onnx's environment, which is set up if it is not there."""
    peer = find_peer("optimum-onnx")
    ENVIRONMENTS.mkdir(exist_ok=True)
    with filelock.FileLock(ENVIRONMENTS / ".optimum-onnx.lock"):
        set_up(peer)
    return peer.python()
