"""The examples of docs/tasks.md: what one prints, with a bundle in place of the one it names or the task's default."""

import contextlib
import io
import re
from pathlib import Path

import pytest

_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_MADE = re.compile(r'(pipeline\("[\w-]+")(?:, "\w+")?')


def printed_by(example: str, bundle: Path) -> str:
    """Run an example in the current folder and return what it prints, numbers rounded as on the page."""
    text = _MADE.sub(lambda found: f"{found[1]}, {str(bundle)!r}", example)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(f"from vitrify import pipeline\n{text}", "an example", "exec"), {})
    return _NUMBER.sub(lambda found: f"{float(found.group()):.4f}", out.getvalue().strip())


def assert_printed(found: str, shown: str) -> None:
    """Compare what was printed with the page: the same text, and numbers that differ by rounding only."""
    assert _NUMBER.sub("#", found) == _NUMBER.sub("#", shown.strip()), found
    assert _numbers(found) == pytest.approx(_numbers(shown), abs=2e-4), found


def _numbers(text: str) -> list[float]:
    return [float(number) for number in _NUMBER.findall(text)]
