"""What `vitrify run` makes of its arguments and of the lines of stdin, through the real command."""

import json
import subprocess
import sys

import pytest

from tests.checkpoints import make_checkpoint
from tests.conftest import SECONDS
from vitrify import export_bundle

CLOSED = ("sh", "-c", 'exec "$0" "$@" <&-')
COMMAND = (sys.executable, "-m", "vitrify.cli", "run")


def run(*words, stdin=b"", cwd=None, shell=()):
    """Return the exit code, the results and what stderr says of `vitrify run`."""
    command = [*shell, *COMMAND, *map(str, words)]
    done = subprocess.run(command, input=stdin, cwd=cwd, capture_output=True, timeout=SECONDS, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    export_bundle(make_checkpoint("vit", "base", folder / "checkpoint"), folder / "bundle")
    return folder / "bundle"


def tokens(results):
    return [len(result[0]) for result in results]


def test_a_line_is_a_text_and_never_a_files_name(exported, tmp_path):
    (tmp_path / "note.txt").write_text("a much longer text " * 5)
    run_here = ("feature-extraction", "-m", exported.bundle)
    code, results, said = run(*run_here, stdin=b"note.txt\n./note.txt\r\n/etc/passwd", cwd=tmp_path)
    _, expected, _ = run(*run_here, "note.txt", "./note.txt", "/etc/passwd", cwd=exported.bundle.parent)
    assert (code, said) == (0, "")
    assert results[:2] == expected[:2]
    assert tokens(results)[2] < 20 < tokens(run(*run_here, "note.txt", cwd=tmp_path)[1])[0]


def test_a_line_gives_a_result_blank_or_not(exported):
    code, results, said = run("feature-extraction", "-m", exported.bundle, stdin=b"a text\n\n  \na text\n\n")
    assert (code, said, len(results)) == (0, "", 5)
    assert results[0] == results[3]
    assert tokens(results)[1] == tokens(results)[4] == 2


def test_a_line_may_be_json(exported):
    code, _, said = run("feature-extraction", "-m", exported.bundle, stdin=b'{"text": "a"}\n')
    assert (code, "got dict" in said) == (2, True)
    assert run("feature-extraction", "-m", exported.bundle, stdin=b"{a text}\n[")[0] == 0
    cut = ("--param", "truncation=true")
    assert run("feature-extraction", "-m", exported.bundle, *cut, stdin=b"[" * 10**5)[0] == 0


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        (b"", "no inputs: pass them as arguments, with --input, or as lines on stdin"),
        (b"a\nb\xff\n", "stdin line 2 is not valid UTF-8 (byte 1)"),
        ("a\n".encode("utf-16"), "stdin line 1 is not valid UTF-8"),
    ],
)
@pytest.mark.parametrize("size", [1, 4])
def test_stdin_that_is_no_input_exits_2(exported, stdin, said, size):
    code, _, err = run("feature-extraction", "-m", exported.bundle, "--batch-size", size, stdin=stdin)
    assert (code, err.count("\n")) == (2, 1)
    assert said in err


def test_a_closed_stdin_is_no_input(exported):
    code, _, said = run("feature-extraction", "-m", exported.bundle, shell=CLOSED)
    assert (code, "no inputs" in said) == (2, True)
    assert run("feature-extraction", "-m", exported.bundle, "a text", shell=CLOSED)[0] == 0


def test_a_line_names_an_image(images, tmp_path):
    from PIL import Image

    Image.new("RGB", (40, 40), "red").save(tmp_path / "red.png")
    code, results, said = run("image-feature-extraction", "-m", images, stdin=b"red.png\nred.png\n", cwd=tmp_path)
    assert (code, said, len(results)) == (0, "", 2)
    code, results, said = run("image-feature-extraction", "-m", images, stdin=b"red.png\n\nred.png\n", cwd=tmp_path)
    assert (code, len(results)) == (2, 1)
    assert "stdin line 2 is empty: 'image-feature-extraction' expects a path, a URL or JSON" in said


@pytest.fixture
def mixed(tmp_path):
    """Return a file of four rows; the third one is not UTF-8."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"id": "a", "text": "one"}\r\n"two"\r\n"b\xff"\r\n{"text": "four"}\r\n')
    return path


@pytest.mark.parametrize("size", [1, 4])
def test_json_lines_go_on_after_a_bad_row(exported, mixed, size):
    mixed.write_bytes(mixed.read_bytes().replace(b'"two"', b'{"text": "two"}'))
    words = ("--input", mixed, "--field", "text", "--jsonl", "--keep-going", "--batch-size", size)
    code, rows, said = run("feature-extraction", "-m", exported.bundle, *words)
    assert (code, said) == (2, "vitrify: 1 of 4 inputs failed\n")
    assert [row["number"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["id"] == "a"
    assert all(len(rows[index]["output"]) == 1 for index in (0, 1, 3))
    assert (rows[2]["exit_code"], "line 3 is not valid UTF-8" in rows[2]["error"]) == (2, True)


def test_without_keep_going_the_results_before_a_bad_row_are_there(exported, mixed):
    mixed.write_bytes(mixed.read_bytes().replace(b'"two"', b'{"text": "two"}'))
    given = ("feature-extraction", "-m", exported.bundle, "--input", mixed, "--field", "text", "--batch-size", 4)
    code, results, said = run(*given)
    assert (code, len(results), said.count("\n")) == (2, 2, 1)
    assert "rows.jsonl line 3 is not valid UTF-8" in said
    done = subprocess.run([*COMMAND, *map(str, given), "--json"], capture_output=True, timeout=SECONDS, check=False)
    document = json.loads(done.stdout)
    assert (done.returncode, len(document["results"]), document["exit_code"]) == (2, 2, 2)


def test_a_text_is_a_text_where_that_is_asked_for(exported, tmp_path):
    (tmp_path / "note.txt").write_text("a much longer text " * 5)
    code, results, said = run(
        "feature-extraction", "-m", exported.bundle, "--text", "note.txt", '["a", "b"]', cwd=tmp_path
    )
    assert (code, said) == (0, "")
    assert max(tokens(results)) < 20
