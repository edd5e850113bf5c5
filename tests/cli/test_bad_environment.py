"""Missing packages, folders that cannot be written, full disks, Ctrl-C and kill: one clear line, and nothing lost."""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import contextmanager

import pytest

from tests.mutations import ARCHIVES
from tests.refusals import assert_holds, assert_refused, without_steps
from vitrify import export_bundle, pipeline
from vitrify.runtime.errors import DependencyMissing
from vitrify.runtime.verification.verify import verify_bundle

SECONDS = 60
EXTRACT = ("run", "feature-extraction", "-m")
# What an export writes, in the order in which it does; each is a moment at which it can be stopped.
MOMENTS = ("lock", "content/onnx/model.onnx", "content/parity")


def content_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ------------------------------------------------------------------------------------------------------------ packages


@pytest.mark.parametrize("package", ["torch", "transformers", "onnx"])
def test_an_export_without_the_export_extra(vitrify, exported, tmp_path, package):
    done = vitrify(
        "export", exported.checkpoint, "-o", tmp_path / "out", before=f"import sys; sys.modules['{package}'] = None"
    )
    assert_refused(done, 8, package, "pip install 'vitrify[export]'")
    assert_holds(tmp_path)


def test_verify_against_without_the_export_extra(vitrify, exported):
    words = ("verify", exported.bundle, "--against", exported.checkpoint)
    assert_refused(
        vitrify(*words, before="import sys; sys.modules['torch'] = None"), 8, "pip install 'vitrify[export]'"
    )


def test_a_bundle_runs_without_the_export_and_vision_extras(vitrify, exported):
    without = "import sys; sys.modules.update(dict.fromkeys(['torch', 'transformers', 'onnx', 'PIL', 'optimum']))"
    done = vitrify(*EXTRACT, exported.bundle, "a text", before=without)
    assert (done.code, done.err) == (0, "")


def test_an_image_without_the_vision_extra(vitrify, tmp_path):
    statement = (
        "import sys; sys.modules['PIL'] = None\n"
        "from vitrify.runtime.processing.image.source import load_image\n"
        "load_image('picture.png')"
    )
    done = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith("vitrify.runtime.errors.DependencyMissing: images need Pillow")
    assert "vitrify[vision]" in done.stderr
    assert DependencyMissing.exit_code == 8


def test_both_wheels_of_onnxruntime(vitrify, exported, tmp_path):
    for wheel in ("onnxruntime", "onnxruntime_gpu"):
        (tmp_path / f"{wheel}-1.32.0.dist-info").mkdir()
        (tmp_path / f"{wheel}-1.32.0.dist-info" / "METADATA").write_text(f"Name: {wheel}\nVersion: 1.32.0\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    assert_refused(vitrify(*EXTRACT, exported.bundle, "a text", env=environment), 8, "both installed", "pip uninstall")
    doctor = vitrify("doctor", "--json", env=environment)
    assert_refused(doctor, 8, "both installed", silent=False)  # its document says the rest
    assert "both installed" in doctor.document["problems"][0]


# ------------------------------------------------------------------------------------------------------------- folders


@contextmanager
def small_disk(folder, options):
    """Mount a tmpfs at `folder`."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_folder(vitrify, exported, tmp_path):
    with small_disk(tmp_path / "disk", "ro,size=1m") as disk:
        assert_refused(vitrify("export", exported.checkpoint, "-o", disk / "out"), 8, str(disk / "out"), "read-only")
        assert_holds(disk)


@pytest.mark.parametrize("size", ["8k", "160k"])
def test_a_disk_that_fills_up(exported, tmp_path, capsys, monkeypatch, size):
    from vitrify import cli

    with small_disk(tmp_path / "disk", f"size={size}") as disk:
        words = ["vitrify", "export", str(exported.checkpoint), "-o", str(disk / "out")]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as left:
            cli.main()
        message = capsys.readouterr().err
        assert left.value.code == 8, message
        assert "disk is full" in message
        assert without_steps(message).count("\n") == 1
        assert_holds(disk)


def test_a_full_disk_does_not_keep_a_bundle_from_running(vitrify, exported, tmp_path):
    with small_disk(tmp_path / "disk", "ro,size=1m") as disk:
        done = vitrify(*EXTRACT, exported.bundle, "a text", env={**os.environ, "VITRIFY_CACHE": str(disk)})
        assert (done.code, done.err) == (0, "")


# ------------------------------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize("words", ["tasks", "tasks --json", "--help", "--version", "profiles", "nope --json"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_stdout_that_cannot_be_written(words, unbuffered):
    done = in_shell(f"{words} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 8
    *others, last = done.stderr.splitlines()
    assert last == "vitrify: stdout cannot be written (No space left on device): free some space, or write elsewhere"
    assert len(others) == ("nope" in words)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archived")
    with tarfile.open(ARCHIVES / "encoder.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "encoder"


@pytest.mark.parametrize(
    ("words", "code", "said"), [("'a text' > /dev/full", 8, "stdout cannot be"), ("<&-", 2, "no inputs")]
)
def test_results_that_cannot_be_written_and_inputs_that_cannot_be_read(classifier, words, code, said):
    done = in_shell(f"run text-classification -m {classifier} {words}")
    assert (done.returncode, done.stderr.count("\n")) == (code, 1)
    assert said in done.stderr


@pytest.mark.parametrize(
    ("words", "code"), [("tasks >&-", 0), ("tasks 2>&- | head -1", 0), ("tasks > /dev/full 2> /dev/full", 8)]
)
def test_streams_that_are_closed(words, code):
    done = in_shell(words)
    assert (done.returncode, done.stderr) == (code, "")


def test_what_a_terminal_cannot_show_is_escaped():
    done = in_shell("run café", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert "caf\\xe9" in done.stderr


def in_shell(words, **env):
    line = f'"{sys.executable}" -c "from vitrify.cli import main; main()" {words}'
    return subprocess.run(
        line, shell=True, capture_output=True, text=True, timeout=SECONDS, check=False, env={**os.environ, **env}
    )


# ------------------------------------------------------------------------------------------------------------- folders


@pytest.mark.parametrize("force", [False, True])
def test_an_existing_folder(vitrify, exported, tmp_path, force):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    done = vitrify("export", exported.checkpoint, "-o", folder, *["--force"] * force)
    assert_refused(done, 2, str(folder), "not a bundle" if force else "exists")
    assert_holds(tmp_path, "out")
    assert_holds(folder, "thesis.txt")


# ------------------------------------------------------------------------------------------------- Ctrl-C and kill -9


# A shell that runs tests in the background makes its children deaf to SIGINT.
LISTENING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
LISTENING += "; signal.signal(signal.SIGHUP, signal.SIG_DFL)"


def start_export(checkpoint, folder, *options):
    program = f"{LISTENING}; from vitrify.cli import main; main()"
    words = [sys.executable, "-c", program, "export", str(checkpoint), "-o", str(folder), *options]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(child, folder, moment):
    """Return as soon as the export of `folder` has written what marks the moment."""
    end = time.monotonic() + SECONDS
    while not list(folder.parent.glob(f".{folder.name}.vitrify-*/{moment}")):
        assert child.poll() is None, child.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("moment", "sent", "code", "said"),
    [
        (MOMENTS[0], signal.SIGINT, 130, "interrupted"),
        (MOMENTS[1], signal.SIGINT, 130, "interrupted"),
        (MOMENTS[0], signal.SIGHUP, 129, "ended by SIGHUP"),
        (MOMENTS[0], signal.SIGTERM, 143, "ended by SIGTERM"),
        pytest.param(MOMENTS[1], signal.SIGTERM, 143, "ended by SIGTERM", marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_leaves_nothing(exported, tmp_path, moment, sent, code, said):
    child = start_export(exported.checkpoint, tmp_path / "out")
    wait_for(child, tmp_path / "out", moment)
    child.send_signal(sent)
    out, err = child.communicate(timeout=SECONDS)
    assert (child.returncode, out, without_steps(err)) == (code, "", f"vitrify: {said}\n")
    assert_holds(tmp_path)


def test_kill_leaves_nothing_that_looks_like_a_bundle_and_the_next_export_cleans_up(exported, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(exported.bundle, folder)
    before = content_of(folder)
    for moment in MOMENTS:
        child = start_export(exported.checkpoint, folder, "--force")
        wait_for(child, folder, moment)
        child.kill()
        child.communicate(timeout=SECONDS)
        assert content_of(folder) == before
        (rest,) = (path for path in tmp_path.iterdir() if path != folder)  # those of earlier kills are gone
        assert rest.name.startswith(".")
        assert not (rest / "bundle.json").exists()
    export_bundle(exported.checkpoint, folder, force=True)
    assert_holds(tmp_path, "out")
    assert verify_bundle(folder).passed
    assert pipeline("feature-extraction", folder)("a text")
