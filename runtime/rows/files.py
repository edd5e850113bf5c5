"""A file of inputs as rows: JSON lines, CSV with a header, or a text on each line; it knows no task.

A row that cannot be read is a row with its error: the others are read all the same.
"""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ..amounts import counted
from ..errors import UsageError
from .lines import Line, read_lines
from .record import InputRow

ID = "id"
_LOST = "\ufffd"
# A line, and what it says.
Parsed = tuple[Line, Any]


def read_rows(path: Path, *, field: str | None = None) -> Iterator[InputRow]:
    """Yield the rows of a file, by its suffix: .jsonl and .ndjson, .csv and .tsv; of any other a line is a text.

    Parameters
    ----------
    path
        The file; UTF-8.
    field
        Which field of each object, or which column, is the input. By default a column that is the only one, a value
        that is not an object, or else the object without its "id".

    Raises
    ------
    UsageError
        There is no such file or column, or a text's line is asked for a field.

    """
    parse = _FORMATS.get(path.suffix.lower(), _texts)
    if parse is _texts and field is not None:
        raise UsageError(f"'{path}' has a text on each line, so no field '{field}': rename it to .jsonl or .csv")
    if path.suffix.lower() == ".json":
        raise UsageError(f"'{path}' is one JSON document: pass JSON lines (.jsonl), a row on each line")
    try:
        stream = path.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"no file of inputs '{path}' ({reason})") from error
    rows = _rows(stream, path, parse, field)
    first = list(islice(rows, 1))  # a header that will not do is told now
    return chain(first, rows)


def _rows(stream: Any, path: Path, parse: Callable[..., Iterator[Parsed]], field: str | None) -> Iterator[InputRow]:
    with stream:
        size = os.fstat(stream.fileno()).st_size
        lines = read_lines(stream, str(path))
        for number, (line, value) in enumerate(parse(lines, str(path), field), 1):
            where, share = f"{path} line {line.number}", min(1.0, line.end / size) if size else None
            if line.error is not None:
                yield InputRow(number, where=where, error=line.error, share=share)
                continue
            try:
                given, name = _chosen(value, field)
            except UsageError as error:
                yield InputRow(number, where=where, error=UsageError(f"{where}: {error}"), share=share)
                continue
            yield InputRow(number, given, where, name, share=share)


def _chosen(value: Any, field: str | None) -> tuple[Any, Any]:
    """Return the input of a row, and its id."""
    if not isinstance(value, Mapping):
        if field is not None:
            raise UsageError(f"it is a {type(value).__name__}, so it has no field '{field}'")
        return value, None
    if field is not None and field not in value:
        raise UsageError(f"it has no field '{field}' (fields: {', '.join(map(str, value)) or 'none'})")
    rest = {key: item for key, item in value.items() if key != ID}
    return (value[field] if field is not None else rest), value.get(ID)


def _texts(lines: Iterable[Line], _name: str, _field: str | None) -> Iterator[Parsed]:
    return ((line, line.text) for line in lines)


def _json_lines(lines: Iterable[Line], name: str, _field: str | None) -> Iterator[Parsed]:
    for line in lines:
        if line.error is not None:
            yield line, None
        elif line.text.strip():
            try:
                yield line, json.loads(line.text)
            except (ValueError, RecursionError) as error:
                why = f"{name} line {line.number} is not JSON ({error})"
                yield line._replace(error=UsageError(why)), None


def _table(separator: str) -> Callable[..., Iterator[Parsed]]:
    """Return what reads a table with this separator."""

    def parse(lines: Iterable[Line], name: str, field: str | None) -> Iterator[Parsed]:
        read: list[Line] = []

        def texts() -> Iterator[str]:
            for line in lines:
                read.append(line)
                yield (_LOST if line.error else line.text) + "\n"

        reader = csv.reader(texts(), delimiter=separator, strict=True)
        header = _header(reader, name, field)
        del read[:]
        while (cells := _next(reader)) is not None:
            taken, read[:] = _joined(read, name, cells, len(header)), []
            if taken.error is not None or isinstance(cells, csv.Error):
                yield taken, None
            elif cells:
                yield taken, dict(zip(header, cells, strict=True)) if len(header) > 1 or field else cells[0]

    return parse


def _header(reader: Any, name: str, field: str | None) -> list[str]:
    header = _next(reader)
    if not isinstance(header, list) or not any(header):
        raise UsageError(f"'{name}' has no header: name the columns on its first line")
    if twice := [column for column in header if header.count(column) > 1]:
        raise UsageError(f"'{name}' has the column '{twice[0]}' twice: rename one")
    if field is not None and field not in header:
        raise UsageError(f"'{name}' has no column '{field}' (columns: {', '.join(header)})")
    return header


def _next(reader: Any) -> list[str] | csv.Error | None:
    """Return the cells of the next row, why it has none, or None at the end."""
    try:
        return next(reader, None)
    except csv.Error as error:
        return error


def _joined(read: list[Line], name: str, cells: list[str] | csv.Error, columns: int) -> Line:
    """Return the lines of one row as one, with the first one's number; its error if one is wrong."""
    first, last = read[0], read[-1]
    error = next((line.error for line in read if line.error), None)
    where = f"{name} line {first.number}"
    if error is None and isinstance(cells, csv.Error):
        error = UsageError(f"{where} is not CSV ({cells})")
    elif error is None and isinstance(cells, list) and cells and len(cells) != columns:
        error = UsageError(f"{where} has {counted(len(cells), 'column')}, the header has {columns}")
    return Line(first.number, first.text, error, last.end)


_FORMATS: Mapping[str, Callable[..., Iterator[Parsed]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".csv": _table(","),
    ".tsv": _table("\t"),
}
