"""A result file of rows that are found one by one, on several machines or versions: each says by a number on which."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vitrify.bench.environment import fingerprint

Row = Mapping[str, Any]


def merge_rows(rows: Iterable[Row], path: Path, *, key: Sequence[str], command: str) -> None:
    """Put the rows into the file, each in place of an older one with the same values of `key`."""
    content = json.loads(path.read_text()) if path.exists() else {"environments": [], "rows": []}
    environments = [*content["environments"], fingerprint()]
    kept = {_key(row, key): (row, environments[row["environment"]]) for row in content["rows"]}
    kept |= {_key(row, key): (row, environments[-1]) for row in rows}
    used = [each for index, each in enumerate(environments) if each not in environments[:index]]
    used = [each for each in used if any(each == other for _, other in kept.values())]
    made = [{**kept[name][0], "environment": used.index(kept[name][1])} for name in sorted(kept)]
    lines = ",\n  ".join(json.dumps(row) for row in made)
    head = json.dumps({"command": command, "environments": used}, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{head.removesuffix("}").rstrip()},\n "rows": [\n  {lines}\n ]\n}}\n')


def machine_line(environment: Mapping[str, Any]) -> str:
    """Return the machine and the versions in a line."""
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    machine = f"Machine: {environment['cpu']} ({', '.join(environment['features'])})."
    return f"{machine} Versions: Python {environment['python']}, {packages}.\n"


def _key(row: Row, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(row[name] for name in names)
