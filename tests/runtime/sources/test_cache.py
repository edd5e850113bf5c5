"""The user's cache as entries: what they are of, found by their names, removed, checked."""

import json
import os
import time

import pytest
from filelock import FileLock

from vitrify.runtime.errors import EnvironmentMissing, UsageError
from vitrify.runtime.sources.cache import check_entry, find_entries, list_cache, outdated, remove_entries


@pytest.fixture
def root(tmp_path):
    for name, text in {
        "bundles/3f2a/bundle.json": json.dumps({"source": {"id": "owner/model"}}),
        "bundles/3f2a/config.json": "{}",
        "bundles/3f2a.lock": "",
        "hub/owner--other/abc/config.json": "{}",
        "tuned/77aa.json": json.dumps({"bundle": "minilm"}),
        "digests/one": "0" * 64,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_entries_say_what_they_are_of(root):
    found = {entry.where: entry.name for entry in list_cache(root)}
    assert found == {
        "bundles/3f2a": "owner/model",
        "hub/owner--other": "owner/other",
        "tuned/77aa": "minilm",
        "digests/": "sha256 of files",
    }
    assert sum(entry.bytes for entry in list_cache(root)) > 64
    assert list_cache(root / "nowhere") == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["3f"], ["bundles/3f2a"]),
        (["bundles/3f2a", "owner/model"], ["bundles/3f2a"]),
        (["owner/other", "minilm"], ["hub/owner--other", "tuned/77aa"]),
        (["tuned"], ["tuned/77aa"]),
        (["digests"], ["digests/"]),
    ],
)
def test_entries_are_found_by_their_names(root, words, found):
    assert [entry.where for entry in find_entries(words, list_cache(root))] == found


@pytest.mark.parametrize("word", ["nothing", "", "../bundles", "/"])
def test_a_word_that_names_nothing(root, word):
    with pytest.raises(UsageError, match="nothing in the cache is called"):
        find_entries([word], list_cache(root))


def test_what_is_removed_is_gone_and_nothing_else(root):
    freed = remove_entries(find_entries(["bundles", "tuned"], list_cache(root)))
    assert freed > 0
    assert [entry.kind for entry in list_cache(root)] == ["hub", "digests"]
    assert not list((root / "bundles").iterdir())


def test_an_entry_that_is_being_written_stays(root):
    with FileLock(root / "bundles" / "3f2a.lock"), pytest.raises(EnvironmentMissing, match="another process"):
        remove_entries(find_entries(["bundles"], list_cache(root)))
    assert (root / "bundles" / "3f2a" / "bundle.json").exists()


def test_what_nobody_used_for_long_is_outdated(root):
    long_ago = time.time() - 40 * 86_400
    os.utime(root / "tuned" / "77aa.json", (long_ago, long_ago))
    assert [entry.where for entry in outdated(list_cache(root), days=30)] == ["tuned/77aa"]


def test_what_is_broken_is_told(root):
    (root / "tuned" / "77aa.json").write_text("{")
    found = {entry.where: check_entry(entry) for entry in list_cache(root)}
    assert found["hub/owner--other"] is None
    assert found["digests/"] is None
    assert found["bundles/3f2a"]
    assert found["tuned/77aa"]
