"""The files of a result on a disk that fills up: a sentence, and no half of a file."""

import contextlib
import resource

import pytest

from tests.bench.results import tiny
from vitrify.bench.result_files import write_outputs
from vitrify.runtime.errors import EnvironmentMissing


@contextlib.contextmanager
def disk_of(size):
    """Let no file grow beyond a size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 100, 10_000])
def test_a_disk_that_fills_up_leaves_whole_files(tmp_path, size):
    write_outputs(tiny(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with disk_of(size), pytest.raises(EnvironmentMissing, match="cannot be written to") as caught:
        write_outputs(tiny(), tmp_path)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_nothing_is_left_of_files_that_were_not_there(tmp_path):
    with disk_of(10), pytest.raises(EnvironmentMissing):
        write_outputs(tiny(), tmp_path)
    assert not list(tmp_path.iterdir())
