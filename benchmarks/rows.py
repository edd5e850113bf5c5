"""Tables of figures, in Markdown: profiles of vitrify as rows, the baselines of the same run as columns."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .labels import label

Row = tuple[str, ...]
# Ways that belong to one profile each: their figure stands in its row.
_OWN = ("bare steps", "first turn")


@dataclass(frozen=True)
class Table:
    """A table with the name of what it is about, and sentences to put below it."""

    columns: Row
    rows: tuple[Row, ...]
    title: str = ""
    notes: tuple[str, ...] = ()

    def markdown(self) -> list[str]:
        """Return its lines."""
        lines = [f"**{self.title}**", ""] if self.title else []
        if self.rows:
            lines += [f"| {' | '.join(self.columns)} |", "|---" * len(self.columns) + "|"]
            lines += [f"| {' | '.join(row)} |" for row in self.rows]
            lines.append("")
        return [*lines, *(line for note in self.notes for line in (note, ""))]


def work_tables(result: Mapping[str, Any]) -> list[Table]:
    """Return the cases of one model: a row of the baselines' figures, then one for each profile.

    Cases with the same baselines share a table.
    """
    grouped: dict[Row, list[tuple[str, Any]]] = {}
    for work, found in result["work"].items():
        grouped.setdefault(_baselines(found["ratios"]), []).append((work, found))
    return [_table(result, baselines, cases) for baselines, cases in grouped.items()]


def _table(result: Mapping[str, Any], baselines: Row, cases: list[tuple[str, Any]]) -> Table:
    rows = tuple(row for work, found in cases for row in _case(work, found, baselines))
    notes = [note for work, found in cases for note in missing(found.get("failed", {}), label(work))]
    stopped = result.get("interrupted")
    if stopped in dict(cases):
        notes.append(f"This run was interrupted: {label(stopped)} has fewer rounds than the others.")
    columns = ("case", "profile", "vitrify", *map(label, baselines))
    return Table(columns, rows, title=label(result["what"]), notes=tuple(notes))


def missing(failed: Mapping[str, str], case: str) -> list[str]:
    return [f"No figure of {label(way)} for {case}: {why}." for way, why in failed.items()]


def interval(spread: Mapping[str, float], shape: str, unit: str, scale: float = 1.0) -> str:
    """Return the median and, where there was more than one sample, the quartiles in brackets."""
    middle, low, high = (f"{scale * spread[name]:{shape}}" for name in ("median", "q1", "q3"))
    return f"{middle} {unit}" if spread.get("count", 2) == 1 else f"{middle} {unit} [{low}-{high}]"


def duration(spread: Mapping[str, float]) -> str:
    """Return seconds in a unit that suits them."""
    if spread["median"] >= 2:
        return interval(spread, ".1f", "s")
    return interval(spread, ".0f" if spread["median"] >= 0.02 else ".1f", "ms", 1000)


def speed(spread: Mapping[str, float]) -> str:
    return interval(spread, ".1f", "tokens/s")


def speedup(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f}x"


def profiles_of(ratios: Iterable[str]) -> list[str]:
    """Return our ways, each after "/" in the name of a ratio."""
    return list(dict.fromkeys(name.split(" / ")[1] for name in ratios))


def _baselines(ratios: Iterable[str]) -> Row:
    """Return the columns: every other way, those of one profile each as one."""
    names = list(ratios)
    ours = profiles_of(names)
    others = (name.split(" / ")[0] for name in names)
    return tuple(dict.fromkeys(_shared(name) for name in others if name not in ours))


def _shared(way: str) -> str:
    return next((own for own in _OWN if way.startswith(own)), way)


def _case(work: str, found: Mapping[str, Any], baselines: Row) -> Iterator[Row]:
    profiles = profiles_of(found["ratios"]) or list(found["seconds"])
    shared = [_figure(found, way) for way in baselines]
    if any(shared):
        yield label(work), "(baselines)", "", *shared
    for index, profile in enumerate(profiles):
        cells = [_beside(found, way, profile) for way in baselines]
        yield "" if index or any(shared) else label(work), f"`{profile}`", _figure(found, profile), *cells


def _beside(found: Mapping[str, Any], way: str, profile: str) -> str:
    """Return how much faster a profile is than a baseline; with the baseline's figure if that is the profile's own."""
    own = f"{way} {profile}" if way in _OWN else way
    ratio = found["ratios"].get(f"{own} / {profile}")
    if ratio is None:
        return ""
    return f"{_figure(found, own)}: {speedup(ratio)}" if way in _OWN else speedup(ratio)


def _figure(found: Mapping[str, Any], way: str) -> str:
    if way not in found["seconds"]:
        return ""
    speeds = found.get("tokens_per_second")
    figure = speed(speeds[way]) if speeds else duration(found["seconds"][way])
    errors = found.get("made", {}).get(way, {}).get("word_errors")
    return f"{figure}, WER {errors:.1%}" if errors else figure
