"""Digests are computed once per content of a file, and again when the file changes."""

import hashlib
import os
import resource

import pytest

from vitrify.runtime.bundle.digests import cache_folder, file_digest, remembered_digest
from vitrify.runtime.errors import EnvironmentMissing


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    return path


def test_the_digest_is_sha256(file):
    assert file_digest(file) == sha256(b"weights")


def test_a_remembered_digest_is_not_computed_again(file, tmp_path):
    memory = tmp_path / "memory"
    assert remembered_digest(file, memory=memory) == sha256(b"weights")
    (note,) = memory.iterdir()
    note.write_text(sha256(b"from memory"))
    assert remembered_digest(file, memory=memory) == sha256(b"from memory")


def longer(path):
    path.write_bytes(b"other weights")
    return b"other weights"


def later(path):
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    return b"WEIGHTS"


def replaced(path):
    """Another file of the same size and time under the same name."""
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"WEIGHTS")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    return b"WEIGHTS"


@pytest.mark.parametrize("change", [longer, later, replaced])
def test_a_change_is_seen(file, tmp_path, change):
    memory = tmp_path / "memory"
    remembered_digest(file, memory=memory)
    content = change(file)
    assert remembered_digest(file, memory=memory) == sha256(content)


@pytest.mark.parametrize("note", ["", "abc", "0" * 63, "0" * 64 + "\n", "\udcff"], ids=str.__repr__)
def test_a_spoiled_note_is_ignored(file, tmp_path, note):
    memory = tmp_path / "memory"
    remembered_digest(file, memory=memory)
    (path,) = memory.iterdir()
    path.write_bytes(note.encode(errors="surrogateescape"))
    assert remembered_digest(file, memory=memory) == sha256(b"weights")


def test_a_memory_that_cannot_be_written(file):
    for _ in range(2):
        assert remembered_digest(file, memory=file / "no-folder") == sha256(b"weights")


def test_notes_are_private_and_nothing_else_is_left(file, tmp_path):
    memory = tmp_path / "memory"
    remembered_digest(file, memory=memory)
    (note,) = memory.iterdir()
    assert note.stat().st_mode & 0o077 == 0
    assert memory.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"VITRIFY_CACHE": "/own", "XDG_CACHE_HOME": "/xdg"}, "/own"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/vitrify"),
        ({"HOME": "/somebody"}, "/somebody/.cache/vitrify"),
    ],
)
def test_where_the_cache_is(monkeypatch, variables, folder):
    for name in ("VITRIFY_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(cache_folder()) == folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    monkeypatch.setenv("VITRIFY_CACHE", str(tmp_path / "cache"))
    folder = cache_folder() / "digests"
    folder.mkdir(parents=True)
    return folder


def test_what_another_user_put_into_the_cache_is_not_read(file, cache):
    remembered_digest(file)
    (note,) = cache.iterdir()
    note.write_text(sha256(b"planted"))
    os.chown(cache, 12345, 12345)
    with pytest.raises(EnvironmentMissing, match=r"digests' .* another user .uid 12345..*VITRIFY_CACHE") as caught:
        remembered_digest(file)
    assert "\n" not in str(caught.value)


def test_a_cache_that_is_given_is_trusted_with_its_owner(file, cache):
    for folder in (cache, cache.parent):
        os.chown(folder, 12345, 12345)
    assert remembered_digest(file) == sha256(b"weights")
    assert cache_folder("bundles") == cache.parent / "bundles"


def test_a_full_disk_leaves_nothing_of_a_note(file, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        assert remembered_digest(file, memory=tmp_path / "memory") == sha256(b"weights")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "memory").iterdir())
