"""docs/types.md: every type and head with every profile, made from benchmarks/results/types.json and nothing else.

`./dev check --all` writes both; `python -m benchmarks.types_table` makes the page again.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from .row_file import Row, machine_line, merge_rows

ROOT = Path(__file__).parent.parent
RESULTS, PAGE = Path("benchmarks", "results", "types.json"), Path("docs", "types.md")
_KEY = ("type", "head", "profile")
_INTRODUCTION = """# Every type and head that is tested, with every profile

A tiny checkpoint of each, with seeded weights drawn wide enough that every input matters: exported, and compared with
PyTorch at shapes that were not traced; a model that writes, at every step of given tokens, and in float32 beside
`generate()`, token by token, greedily and with beams. Trained weights are kinder to few bits than these.

- **export**: seconds of processor time for one export, with every profile
- **cpu-fp32**, **cpu-fp32-openvino**: the largest difference from PyTorch's outputs
- **cpu-int8**, **cpu-int8-static**, **cpu-int8-bf16**, **cpu-bf16**: the largest difference, over the largest magnitude
  of its output
- **cpu-w8**, **cpu-w4**: how many of the most likely tokens are the same; mean divergence in nats
- **refused**: more than the profile allows, so that an export fails and says so; `led` is refused whole, because what
  it does depends on the values of its inputs

Made by `./dev check --all` from `benchmarks/results/types.json`.
"""


def merge(rows: Iterable[Row], root: Path = ROOT) -> None:
    """Put the rows into the file, and renew the page."""
    merge_rows(rows, root / RESULTS, key=_KEY, command="./dev check --all")
    renew(root)


def page(root: Path = ROOT) -> str:
    """Return the page, in Markdown."""
    content = json.loads((root / RESULTS).read_text())
    rows: list[Row] = content["rows"]
    profiles = sorted({row["profile"] for row in rows}, key=lambda name: (name != "cpu-fp32", name))
    by_pair: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        by_pair.setdefault((row["type"], row["head"]), {})[row["profile"]] = row
    parts = [_INTRODUCTION]
    for family in sorted({row["family"] for row in rows}):
        found = {pair: own for pair, own in by_pair.items() if own["cpu-fp32"]["family"] == family}
        shown = [name for name in profiles if any(name in own for own in found.values())]
        parts.append("\n".join(_table(family, found, shown)))
    return "\n".join([*parts, *map(machine_line, content["environments"])])


def _table(family: str, pairs: Mapping[tuple[str, str], Mapping[str, Row]], profiles: list[str]) -> list[str]:
    columns = ["type", "head", "cache", "export", *profiles]
    lines = [f"## {family}: {len(pairs)}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for (model_type, head), own in pairs.items():
        exact = own["cpu-fp32"]
        cells = [f"`{model_type}`", head, exact["cache"], f"{exact['seconds']:.0f} s"]
        lines.append(f"| {' | '.join([*cells, *(_cell(own.get(name)) for name in profiles)])} |")
    return [*lines, ""]


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    if row["drift"] is None:
        return f"refused: {row['reason'].split(': ')[0]}"
    if row["quality"]:
        said = f"{row['quality']['agreement']:.1%}, {row['quality']['kl_mean']:.1g}"
    else:
        said = f"{row['difference']:.1g}" if row["profile"].startswith("cpu-fp32") else f"{row['drift']:.2f}"
    return said if row["passed"] else f"refused: {said}"


def renew(root: Path = ROOT) -> None:
    (root / PAGE).parent.mkdir(exist_ok=True)
    (root / PAGE).write_text(page(root), encoding="utf-8")


if __name__ == "__main__":
    renew()
