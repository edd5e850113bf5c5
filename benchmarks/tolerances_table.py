"""docs/profiles.md: what each tolerance allows and what was measured, from benchmarks/results/types.json and profiles/.

`python -m benchmarks.tolerances_table` writes the table again.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from vitrify.profiles import load_profile

from .types_table import RESULTS, ROOT

if TYPE_CHECKING:
    from .row_file import Row

PAGE = Path("docs", "profiles.md")
_BEGIN, _END = "<!-- tolerances -->\n", "<!-- /tolerances -->"
_HEAD = (
    "| profile | allowed | median | largest | identity | top-1 agreement | KL, nats |\n|---|---|---|---|---|---|---|\n"
)


def page(root: Path = ROOT) -> str:
    """Return the page with the table renewed."""
    text = (root / PAGE).read_text(encoding="utf-8")
    before, rest = text.split(_BEGIN)
    return f"{before}{_BEGIN}{_HEAD}{''.join(_lines(root))}{_END}{rest.split(_END)[1]}"


def _lines(root: Path) -> Iterator[str]:
    rows: list[Row] = [row for row in json.loads((root / RESULTS).read_text())["rows"] if row["passed"]]
    for name in sorted({row["profile"] for row in rows}):
        profile, own = load_profile(name), [row for row in rows if row["profile"] == name and row["drift"] is not None]
        errors = [row["drift" if profile.is_lossy else "difference"] for row in own]
        qualities = [row["quality"] for row in own if row["quality"]]
        allowed = f"{profile.tolerance.relative if profile.is_lossy else profile.tolerance.absolute:g}"
        cells = [f"`{name}`", allowed, f"{median(errors):.1g}", f"{max(errors):.1g}"]
        cells.append(f"{profile.tolerance.identity:g}" if profile.is_lossy else "")
        if profile.weights and qualities:
            least, most = min(q["agreement"] for q in qualities), max(q["kl_mean"] for q in qualities)
            cells += [f"{least:.1%} (at least {profile.weights.agreement:.0%})"]
            cells += [f"{most:.2g} (at most {profile.weights.divergence:g})"]
        else:
            cells += ["", ""]
        yield f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    (ROOT / PAGE).write_text(page(), encoding="utf-8")
