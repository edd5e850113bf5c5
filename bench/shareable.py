"""A result that can be passed on: paths of the machine are shortened to their last part; it measures nothing."""

import re
import shlex
from dataclasses import replace
from pathlib import PurePath
from typing import TypeVar

from .result import Load, Result, Row

# An absolute path: in quotes, where it may contain spaces, or of at least two parts.
_QUOTED = re.compile(r"(['\"])(/[^'\"\n]*/[^'\"\n]*)\1")
_BARE = re.compile(r"(?<![\w.:/~'\"])/[^\s'\":;,()/]+(?:/[^\s'\":;,()/]+)+/?")
Record = TypeVar("Record", Row, Load)


def shareable(result: Result) -> Result:
    """Return the result without folders of the machine, in the command, the source and in what failed."""
    command = result.settings.get("command")
    source = result.model.get("source")
    return replace(
        result,
        model={**result.model, "source": short_word(source)} if isinstance(source, str) else result.model,
        settings={**result.settings, "command": short_command(command)} if command else result.settings,
        rows=tuple(map(_short_record, result.rows)),
        loads=tuple(map(_short_record, result.loads)),
    )


def short_command(command: str) -> str:
    """Return a command line whose absolute paths are only names, those after = and between commas too."""
    return shlex.join(map(short_word, shlex.split(command)))


def short_word(word: str) -> str:
    """Return a word of a command line with only the names of its absolute paths."""
    return re.sub(r"(^|[=,])(/[^=,]*)", lambda found: found[1] + _name(found[2]), word)


def short_text(text: str) -> str:
    """Return a message with only the names of its absolute paths."""
    quoted = _QUOTED.sub(lambda found: f"{found[1]}{_name(found[2])}{found[1]}", text)
    return _BARE.sub(lambda found: _name(found[0]), quoted)


def _name(path: str) -> str:
    return PurePath(path).name or path


def _short_record(record: Record) -> Record:
    return record if record.failed is None else replace(record, failed=short_text(record.failed))
