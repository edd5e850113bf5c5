"""A child process: how it ended is said in one sentence, and nothing that it started stays."""

import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from vitrify.runtime import errors
from vitrify.runtime.child import Ended, LimitExceeded, Limits, error_of, last_line, run_child


def python(program, **options):
    return run_child([sys.executable, "-c", program], **options)


def test_what_a_child_says_and_exits_with(capfd):
    program = "import sys; print('not for us'); sys.stderr.write('what went wrong'); sys.exit(7)"
    assert python(program) == (7, "what went wrong")
    assert capfd.readouterr().out == ""


def test_what_a_child_says_on_stdout_is_kept_where_it_is_wanted():
    assert "for us" in python("print('for us')", with_output=True).said


def test_a_child_reads_what_it_is_given(tmp_path):
    program = "import sys, os; sys.stderr.write(sys.stdin.read() + os.path.basename(os.getcwd()))"
    assert python(program, given=b"a request, ", folder=tmp_path).said == f"a request, {tmp_path.name}"


def test_a_child_that_reads_nothing_may_end_first():
    assert python("import sys; sys.exit(3)", given=b"x" * (1 << 20)).code == 3


@pytest.mark.parametrize(
    ("program", "limits", "what"),
    [
        ("import time; time.sleep(60)", Limits(seconds=0.5), "time"),
        ("import time; kept = bytes(1 << 20) * 200; time.sleep(60)", Limits(60.0, 100 * 2**20), "memory"),
    ],
)
def test_a_child_that_takes_too_much_is_stopped(program, limits, what):
    start = time.monotonic()
    with pytest.raises(LimitExceeded) as caught:
        python(program, limits=limits)
    assert caught.value.what == what
    assert (caught.value.used > 0) == (what == "memory")
    assert time.monotonic() - start < 30


def is_running(pid):
    with suppress(OSError):
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_child_started_ends_with_it(tmp_path):
    program = f"""
import subprocess, sys
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open({str(tmp_path / "pid")!r}, "w").write(str(other.pid))
"""
    assert python(program).code == 0
    end = time.monotonic() + 10
    while is_running((tmp_path / "pid").read_text()):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        *((each.exit_code, each) for each in vars(errors).values() if getattr(each, "exit_code", 1) > 1),
        (1, errors.VitrifyError),
        (99, errors.VitrifyError),
        (-11, errors.VitrifyError),
    ],
)
def test_the_exit_code_names_the_error(code, error):
    if error is errors.DependencyMissing:  # its code is EnvironmentMissing's
        error = errors.EnvironmentMissing
    assert type(error_of(Ended(code, "said"), errors.VitrifyError)) is error


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        (Ended(2, "a warning of some library\nvitrify: what went wrong\n\n"), "what went wrong"),
        (Ended(1, "Traceback\nValueError: no\n"), "ValueError: no"),
        (Ended(99, " \n"), "it ended with 99 and said nothing"),
        (Ended(-9, "half a li"), "it was killed by signal 9 (SIGKILL)"),
        (Ended(-11, ""), "it was killed by signal 11 (SIGSEGV)"),
    ],
)
def test_the_reason_is_one_sentence(ended, reason):
    assert ended.reason == reason


def test_nothing_said_has_no_last_line():
    assert last_line("\n \n") == ""
