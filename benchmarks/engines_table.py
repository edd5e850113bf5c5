"""docs/engines.md: every type's graphs as engines, and some of true size, made from result files and nothing else.

`./dev check --all` writes the types, `./dev bench engines` the true sizes; `python -m benchmarks.engines_table` makes
the page again.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .row_file import Row, machine_line, merge_rows

ROOT = Path(__file__).parent.parent
RESULTS, PAGE = Path("benchmarks", "results", "engine_types.json"), Path("docs", "engines.md")
TRUE_SIZES = Path("benchmarks", "results", "engines.json")
_KEY = ("type", "head", "graph", "sm")
_INTRODUCTION = """# Engines, built on a machine without a GPU

`vitrify check-engine` with profile `trt-fp16-latency`: the graphs in float16, softmax and norms in float32, built by
tensorrt-rtx for compute capabilities 8.6, 8.9 and 12.0, in a child process. Nothing here was run on a GPU.

- **attention**: attention layers that became one fused kernel, of how many
- **half**: the share of kernels that write half precision
- **activations**: memory that a context takes beside the weights, at the largest shapes of the profile
- **build**: seconds for one engine, on the two shared cores named below

A row stands for all three; where they differ, each has its own. A refusal shows the builder's reason.
"""
_TRUE = """## True sizes

Real weights, or seeded ones of true size. Decoders have two sets of ranges: one token on a cache, and a prompt.
"""
_TYPES = """## Every type

A tiny checkpoint of each: its heads are 8 or 16 wide, too narrow for many fused kernels, so what counts is that it is
built. Made by `./dev check --all`.
"""
_HEAD = ["graph", "for SM", "engine", "attention", "half", "kernels", "activations", "build", "peak memory"]


def merge(rows: Iterable[Row], root: Path = ROOT) -> None:
    """Put the rows of types into their file, and renew the page."""
    merge_rows(rows, root / RESULTS, key=_KEY, command="./dev check --all")
    renew(root)


def page(root: Path = ROOT) -> str:
    """Return the page, in Markdown."""
    parts, machines = [_INTRODUCTION], []
    if (root / TRUE_SIZES).exists():
        content = json.loads((root / TRUE_SIZES).read_text())
        rows = content["result"]["rows"]
        parts += [_TRUE, *_tables(rows, ("model",))]
        machines.append(content["environment"])
    if (root / RESULTS).exists():
        content = json.loads((root / RESULTS).read_text())
        parts += [_TYPES, _summary(content["rows"]), *_tables(content["rows"], ("type", "head"))]
        machines += [each for each in content["environments"] if each not in machines]
    return "\n".join([*parts, *map(machine_line, machines)])


def _summary(rows: Sequence[Row]) -> str:
    whole = {}
    for row in rows:
        whole.setdefault((row["type"], row["head"], row["sm"]), []).append(row["built"])
    models = sum(map(all, whole.values()))
    graphs = sum(row["built"] for row in rows)
    return (
        f"{models} of {len(whole)} models are built whole ({models / len(whole):.0%}), "
        f"{graphs} of {len(rows)} engines ({graphs / len(rows):.0%}), counting each compute capability.\n"
    )


def _tables(rows: Sequence[Row], names: Sequence[str]) -> Iterator[str]:
    columns = [*names, *_HEAD]
    yield "\n".join([f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *_lines(rows, names), ""])


def _lines(rows: Sequence[Row], names: Sequence[str]) -> Iterator[str]:
    """Yield a line for each graph; compute capabilities of which the same is to be said share it."""
    grouped: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        said = "built" if row["built"] else row["why"]
        key = (*(row[name] for name in names), row["graph"], said, str(row.get("fused_attention")))
        grouped.setdefault(key, []).append(row)
    for found in grouped.values():
        first = found[0]
        cells = [f"`{first[names[0]]}`", *(first[name] for name in names[1:]), first["graph"]]
        cells.append(", ".join(row["sm"] for row in found))
        yield f"| {' | '.join([*cells, *_cells(found)])} |"


def _cells(rows: Sequence[Row]) -> list[str]:
    first = rows[0]
    if not first["built"]:
        return [f"refused: {first['why'].replace('|', '/')}", *[""] * (len(_HEAD) - 3)]
    return [
        _range([row["bytes"] / 1e6 for row in rows], "MB"),
        f"{first['fused_attention']} of {first['attention']}" if first["attention"] else "none",
        f"{first['half_share']:.0%}",
        str(first["kernels"]),
        _range([row["activation_bytes"] / 1e6 for row in rows], "MB"),
        _range([row["build_seconds"] for row in rows], "s"),
        _range([row["peak_bytes"] / 1e9 for row in rows if "peak_bytes" in row], "GB"),
    ]


def _range(numbers: Sequence[float], unit: str) -> str:
    if not numbers:
        return ""
    low, high = (f"{number:.3g}" for number in (min(numbers), max(numbers)))
    return f"{low} {unit}" if low == high else f"{low}-{high} {unit}"


def renew(root: Path = ROOT) -> None:
    (root / PAGE).parent.mkdir(exist_ok=True)
    (root / PAGE).write_text(page(root), encoding="utf-8")


if __name__ == "__main__":
    renew()
