"""A staged folder is there whole or not at all, whatever happens on the way."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from vitrify.export.staging import explained, staged
from vitrify.runtime.errors import EnvironmentMissing, UsageError

HOLDS = """
import sys, time
from pathlib import Path
from vitrify.export.staging import staged
with staged(Path(sys.argv[1])) as content:
    (content / "part").write_text("half")
    print("holding", flush=True)
    time.sleep(60)
"""


def write_bundle(folder, text="new", **options):
    with staged(folder, **options) as content:
        (content / "bundle.json").write_text(text)
        (content / "onnx").mkdir()
        (content / "onnx" / "model.onnx").write_text(text)


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def holder(tmp_path):
    """Start a process that holds a temporary folder for `tmp_path / "out"`."""
    child = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "holding\n"
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def test_the_folder_appears_at_the_end_with_readable_files(tmp_path):
    folder = tmp_path / "deep" / "out"
    with staged(folder) as content:
        (content / "bundle.json").write_text("new")
        (content / "bundle.json").chmod(0o600)
        assert not folder.exists()
    assert (folder / "bundle.json").read_text() == "new"
    assert (folder / "bundle.json").stat().st_mode & 0o777 == 0o644
    assert listing(folder.parent) == ["out"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), EnvironmentMissing("no")])
def test_a_failure_leaves_nothing(tmp_path, error):
    def fails():
        with staged(tmp_path / "out") as content:
            (content / "part").write_text("half")
            raise error

    with pytest.raises(type(error)):
        fails()
    assert listing(tmp_path) == []


def test_a_failure_with_force_keeps_the_old_bundle(tmp_path):
    write_bundle(tmp_path / "out", "old")
    with pytest.raises(ValueError, match="no"), staged(tmp_path / "out", force=True):
        raise ValueError("no")
    assert (tmp_path / "out" / "bundle.json").read_text() == "old"
    assert listing(tmp_path) == ["out"]


def test_a_bundle_is_replaced_only_with_force(tmp_path):
    write_bundle(tmp_path / "out", "old")
    (tmp_path / "out" / "stray").write_text("old")
    with pytest.raises(UsageError, match="--force"):
        write_bundle(tmp_path / "out")
    assert (tmp_path / "out" / "bundle.json").read_text() == "old"
    write_bundle(tmp_path / "out", force=True)
    assert (tmp_path / "out" / "bundle.json").read_text() == "new"
    assert listing(tmp_path / "out") == ["bundle.json", "onnx"]
    assert listing(tmp_path) == ["out"]


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "out").mkdir()
    write_bundle(tmp_path / "out")
    assert (tmp_path / "out" / "bundle.json").read_text() == "new"


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("kind", ["folder of others", "file", "link to a bundle", "dead link"])
def test_what_is_no_bundle_is_never_replaced(tmp_path, kind, force):
    out = tmp_path / "out"
    if kind == "folder of others":
        out.mkdir()
        (out / "thesis.txt").write_text("years of work")
    elif kind == "file":
        out.write_text("years of work")
    else:
        if kind == "link to a bundle":
            write_bundle(tmp_path / "real", "old")
        out.symlink_to(tmp_path / "real")
    before = listing(tmp_path)
    with pytest.raises(UsageError, match="another") as caught:
        write_bundle(out, force=force)
    assert listing(tmp_path) == before
    assert force or "--force" not in str(caught.value)


def test_what_appeared_meanwhile_is_not_replaced(tmp_path):
    def overtaken():
        with staged(tmp_path / "out") as content:
            (content / "bundle.json").write_text("second")
            write_bundle(tmp_path / "out", "first")

    with pytest.raises(UsageError, match="exists"):
        overtaken()
    assert (tmp_path / "out" / "bundle.json").read_text() == "first"
    assert listing(tmp_path) == ["out"]


def test_a_running_export_keeps_its_temporary_folder_and_a_killed_one_loses_it(tmp_path, holder):
    (temporary,) = tmp_path.iterdir()
    write_bundle(tmp_path / "out")
    assert temporary.is_dir()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not (temporary / "bundle.json").exists()
    write_bundle(tmp_path / "out", force=True)
    assert listing(tmp_path) == ["out"]


def test_another_folders_temporary_folder_is_left_alone(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    write_bundle(tmp_path / "other")
    assert len(listing(tmp_path)) == 2


def test_stale_folders_of_names_with_wildcards_are_found(tmp_path):
    stale = tmp_path / ".m[1]*.vitrify-abc"
    stale.mkdir()
    write_bundle(tmp_path / "m[1]*")
    assert not stale.exists()


def test_a_bundle_that_stood_aside_when_its_export_was_killed_comes_back(tmp_path):
    write_bundle(tmp_path / "out", "old")
    stale = tmp_path / ".out.vitrify-abc"
    stale.mkdir()
    (tmp_path / "out").rename(stale / "old")
    with pytest.raises(UsageError, match="--force"):
        write_bundle(tmp_path / "out")
    assert (tmp_path / "out" / "bundle.json").read_text() == "old"
    assert listing(tmp_path) == ["out"]


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "permission"), (errno.EDQUOT, "quota")],
)
def test_the_reason_of_an_os_error_is_said(tmp_path, number, words):
    with pytest.raises(EnvironmentMissing, match=words) as caught, explained(tmp_path / "out"):
        raise OSError(number, os.strerror(number))
    assert caught.value.exit_code == 8
    assert "\n" not in str(caught.value)


def test_other_os_errors_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), explained(tmp_path):
        (tmp_path / "nowhere").read_text()


@pytest.mark.parametrize(
    ("path", "words"), [("file/out", "is a file"), ("file/deep/out", "is a file"), ("o" * 300, "too long")]
)
def test_a_path_that_cannot_be_is_explained(tmp_path, path, words):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentMissing, match=words):
        write_bundle(tmp_path / path)
    assert listing(tmp_path) == ["file"]
