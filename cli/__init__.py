"""The `vitrify` command: parses, calls one function, prints; no logic of its own."""

import os
import signal
import sys

from ..runtime.errors import DependencyMissing, EnvironmentMissing, UsageError, VitrifyError, install_hint
from . import caching, engines, measuring, models, publishing, running, serving
from .app import app
from .output import failed
from .streams import flushed, has_failed, repair_streams

__all__ = ["app", "caching", "engines", "main", "measuring", "models", "publishing", "running", "serving"]

INTERRUPTED = 130
_SHOWN = 200  # characters of a path
# The extra that brings a module; only those whose absence is told nowhere nearer to its use.
EXTRAS = dict.fromkeys(("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "sentencepiece"), "export")


def main() -> None:
    """Run the command line; every failure is one line on stderr and an exit code."""
    repair_streams()
    stopped = _ending_as_interrupts()
    as_json = "--json" in sys.argv
    code = _run(as_json=as_json)
    code = flushed(0) or code
    if code == INTERRUPTED:
        name = signal.Signals(stopped[0]).name if stopped else ""
        code = 128 + stopped[0] if stopped else INTERRUPTED
        failed(f"ended by {name}" if name else "interrupted", code, as_json=as_json)
    sys.exit(code)


def _run(*, as_json: bool) -> int:
    """Run the command and return its exit code."""
    try:
        code = app(prog_name="vitrify", standalone_mode=False)  # Ctrl-C comes out as its exit code
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        return 0  # the reader of the help has gone away (`| head`)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort: our own bug, or typer's usage errors
        return INTERRUPTED if _was_interrupted(error) else _told(error, as_json=as_json)
    return code if isinstance(code, int) else 0


def _ending_as_interrupts() -> list[int]:
    """Let the signals that end a process end a command as Ctrl-C does, which cleans up; return those that came.

    One that is ignored (`nohup`) stays so, and a second one does not cut the cleaning short.
    """
    came: list[int] = []

    def stop(number: int, _frame: object) -> None:
        came.append(number)
        if len(came) == 1:
            raise KeyboardInterrupt

    for number in (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")):
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)
    return came


def _was_interrupted(error: BaseException | None) -> bool:
    """Tell whether Ctrl-C is behind the error: compiled modules that it stops while they load raise ImportError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _told(error: Exception, *, as_json: bool) -> int:
    """Say in one line what went wrong, and return the exit code."""
    if isinstance(error, VitrifyError):
        return failed(str(error), error.exit_code, as_json=as_json)
    if isinstance(error, OSError) and has_failed():
        return 0  # `main` says so
    if type(error).__module__.startswith(("typer", "click")):
        if type(error).__name__ == "Abort":  # how older releases of typer tell Ctrl-C
            return INTERRUPTED
        words = getattr(error, "format_message", lambda: str(error))()
        if not words:
            return UsageError.exit_code  # no command was given, and the help was printed
        return failed(f"{_sentence(words)} Try: {_command_of(error)} --help", UsageError.exit_code, as_json=as_json)
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        missing = DependencyMissing(f"{error.name} is not installed: {install_hint(EXTRAS[error.name])}")
        return failed(str(missing), missing.exit_code, as_json=as_json)
    if os.environ.get("VITRIFY_TRACEBACK"):
        raise error
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        missing = EnvironmentMissing(f"'{str(error.filename)[:_SHOWN]}': {error.strerror}")
        return failed(str(missing), missing.exit_code, as_json=as_json)
    reason = " ".join(str(error).split())
    return failed(
        f"bug in vitrify: {type(error).__name__}: {reason} (VITRIFY_TRACEBACK=1 shows where)", 1, as_json=as_json
    )


def _sentence(words: str) -> str:
    return words if words.endswith(("?", ".")) else f"{words}."


def _command_of(error: Exception) -> str:
    """Return the command that a usage error of typer is about, as it is typed."""
    return getattr(getattr(error, "ctx", None), "command_path", "vitrify")
