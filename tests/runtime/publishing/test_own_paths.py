"""A path of this machine is found in a file, and a word that only looks like one is not."""

from pathlib import Path

import pytest

from vitrify.runtime.errors import UsageError
from vitrify.runtime.publishing.own_paths import own_paths, require_no_paths

HOME, FOLDER = Path("/root"), Path("/home/ada/models/tiny")


@pytest.mark.parametrize(
    "text",
    [
        *('{"name": "/home/ada/models/tiny"}', "file:///home/ada/models/tiny/x", "(/root/checkpoint)", "/root/a b"),
        *("in /home/ada/models/tiny.", "a\0/root/x\0b"),
    ],
)
@pytest.mark.parametrize("as_file", [True, False])
def test_a_path_is_found(tmp_path, text, as_file):
    (tmp_path / "file").write_bytes(text.encode())
    content = tmp_path / "file" if as_file else text.encode()
    with pytest.raises(UsageError, match="'file' contains a path of this machine"):
        require_no_paths({"file": content}, [HOME, FOLDER])


@pytest.mark.parametrize(
    "text", ["", '{"/root": 7}', "/rooted/x", "a/root/x", "~/root/x", "/home/ada/models/tiny2", "/root/"]
)
def test_other_words_are_not(tmp_path, text):
    (tmp_path / "file").write_text(text)
    require_no_paths({"file": tmp_path / "file", "bytes": text.encode()}, [HOME, FOLDER])


def test_own_paths_are_those_of_the_user_and_the_bundle(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRIFY_CACHE", str(tmp_path / "cache"))
    found = own_paths(tmp_path / "bundle")
    assert {Path.home(), tmp_path, tmp_path / "bundle", tmp_path / "cache"} <= set(found)
    assert Path("/") not in found
    assert not {Path("/"), Path("/data")} & set(own_paths(Path("/data")))
