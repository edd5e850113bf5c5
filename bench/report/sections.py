"""The sections of text: how ours compare with the baselines, what was not measured and why, machine and settings."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ..units import duration, measure, quartiles, significant, times
from .drawing import element, joined
from .reading import FEWEST, Compared, Reading

# More sentences than this would not be read: then only our fastest on each case, beside the fastest baselines.
_MOST_OURS, _MOST_CASES, _MOST_BASELINES = 3, 6, 3


def verdicts(reading: Reading) -> Markup:
    """Return a card for each case, with a sentence for each of ours."""
    names = [case.name for case in reading.result.cases]
    cards = [card for name in names if (card := _card(reading, name, brief=len(names) > _MOST_CASES))]
    if not cards:
        return element("p", _without(reading), class_="lead")
    return element("div", *cards, class_=f"cards {columns_for(len(cards))}")


def columns_for(count: int) -> str:
    """Return the class of a grid: few of them stand in two columns, and none of four is left alone in a row."""
    return "pairs" if count in {1, 2, 4} else ""


def _card(reading: Reading, case: str, *, brief: bool) -> Markup | None:
    ours: dict[str, list[Compared]] = {}
    for each in reading.compared:
        if each.case == case:
            ours.setdefault(each.ours, []).append(each)
    if not ours:
        return None
    shown = sorted(ours, key=lambda name: _p50(reading, case, name))
    note = None
    if brief or len(ours) > _MOST_OURS:
        count = len(ours)
        shown = shown[:1]
        note = element("p", f"The fastest of {count} profiles; the others are in the table.", class_="note")
    sentences = (_sentence(reading, case, name, ours[name]) for name in shown)
    return element("section", element("h3", case), *sentences, note if len(ours) > len(shown) else None, class_="card")


def _sentence(reading: Reading, case: str, ours: str, found: Sequence[Compared]) -> Markup:
    """Return how one of ours compares with its baselines, the fastest of them if they are many."""
    shown = (
        sorted(found, key=lambda each: each.found["median"])[:_MOST_BASELINES]
        if len(found) > _MOST_BASELINES
        else found
    )
    first = joined(element("b", ours), f" ({duration(_p50(reading, case, ours))}) is ")
    parts = list(map(_part, shown))
    ends = [", "] * (len(parts) - 2) + [" and "] * (len(parts) > 1) + ["."]
    if len(shown) < len(found):
        ends[-1] = f"; {len(found) - len(shown)} slower baselines are in the table."
    body = joined(*(piece for pair in zip(parts, ends, strict=True) for piece in pair))
    return element("p", first, body)


def _part(each: Compared) -> Markup:
    """Return what is said of one baseline: no difference is claimed where the quartiles lie on both sides of 1."""
    found = each.found
    if found["q1"] <= 1 <= found["q3"]:
        return joined(f"on a par with {each.baseline}, {times(found['median'])} ", _range(found))
    is_faster = found["median"] > 1
    shown = found if is_faster else {"median": 1 / found["median"], "q1": 1 / found["q3"], "q3": 1 / found["q1"]}
    text = times(shown["median"]) if is_faster else f"{times(shown['median'])} slower"
    class_, words = ("ratio", "as fast as") if is_faster else ("slower", "than")
    name = "b" if found["count"] >= FEWEST else "span"
    return joined(element(name, text, class_=class_), f" {words} {each.baseline} ", _range(shown))


def _range(found: Mapping[str, float]) -> Markup:
    return element("span", quartiles(found), class_="quartiles")


def _p50(reading: Reading, case: str, name: str) -> float:
    row = reading.result.row(case, name)
    return row.latencies["p50"] if row and row.samples_ms else float("inf")


def _without(reading: Reading) -> str:
    """Return what stands in place of the verdicts where there is nothing to compare."""
    if reading.result.rows and not reading.measured and not any(load.samples_ms for load in reading.result.loads):
        return "Nothing was measured: every row failed. The reasons are below."
    if not reading.measured and not reading.result.loads:
        return "Nothing was measured."
    there = {row.backend for row in reading.measured} | {load.backend for load in reading.result.loads}
    if all(mark.is_own for name, mark in reading.marks.items() if name in there):
        return "No baseline was measured, so there is nothing to compare with."
    return "No profile was measured together with a baseline on the same case."


def interruption(reading: Reading) -> Markup | None:
    """Return the note of a run that was stopped, or None."""
    if reading.result.interrupted is None:
        return None
    text = f"Interrupted at {reading.result.interrupted}: what was measured before is here, what came after is not."
    return element("p", text, class_="notice", role="note")


def cautions(reading: Reading) -> Markup | None:
    """Return what makes the figures less than they seem, or None."""
    items = [element("li", f"{text[0].upper()}{text[1:]}.") for text in reading.cautions]
    if not items:
        return None
    return element("section", element("h2", "Caution"), element("ul", *items), class_="notice", role="note")


def failures(reading: Reading) -> Markup | None:
    """Return what failed and why, the cases of one reason together, or None."""
    if not reading.failures:
        return None
    items = (
        element("li", element("b", name), f", {_where(reading, places)}: ", element("span", reason, class_="reason"))
        for (name, reason), places in reading.failures.items()
    )
    return element("section", element("h2", "Not measured"), element("ul", *items), class_="notice")


def _where(reading: Reading, places: Sequence[str]) -> str:
    cases = [case.name for case in reading.result.cases]
    if len(cases) > 1 and set(cases) <= set(places) and len(places) == len(cases):
        return f"all {len(cases)} cases"
    return ", ".join(places)


_NAMES = {
    "cpu": "CPU",
    "features": "features",
    "cores": "cores",
    "memory_gb": "memory",
    "system": "system",
    "python": "Python",
    "governor": "clock governor",
    "mhz": "clocks",
    "load": "load",
}
_PEAKS = {
    "gflops": ("peak float32", "GFLOP/s"),
    "gflops_bf16": ("peak bfloat16", "GFLOP/s"),
    "gflops_int8": ("peak int8", "GOP/s"),
    "gigabytes_per_second": ("peak memory bandwidth", "GB/s"),
}


def environment(reading: Reading) -> Markup | None:
    """Return the machine as a list of facts; a fact that is not known is left out."""
    result = reading.result
    given = {**result.environment}
    before, after = _mapping(given.pop("before", {})), _mapping(given.pop("after", {}))
    versions = {**_mapping(given.pop("packages", {})), **result.versions}
    facts = [(_NAMES.get(name, _spaced(name)), _said(name, value)) for name, value in given.items()]
    facts += [_change(name, before.get(name), after.get(name)) for name in dict.fromkeys([*before, *after])]
    facts += [(name, measure(result.peaks[key], unit)) for key, (name, unit) in _PEAKS.items() if key in result.peaks]
    facts += [(_spaced(name), significant(value)) for name, value in result.peaks.items() if name not in _PEAKS]
    facts += [("versions", ", ".join(f"{name} {version}" for name, version in versions.items()))]
    return facts_list(facts)


def settings(reading: Reading) -> Markup | None:
    """Return what was asked for: the command where it is known, then every other setting."""
    given = dict(reading.result.settings)
    command = given.pop("command", None)
    said = " ".join(command) if isinstance(command, list | tuple) else command
    words = [piece for word in str(said or "").split() for piece in (element("span", word), " ")]
    parts = [element("pre", element("code", *words[:-1])) if words else None]
    parts.append(facts_list((_spaced(name), _plain(value)) for name, value in given.items()))
    return element("div", *parts) if any(parts) else None


def facts_list(facts: Iterable[tuple[str, str]]) -> Markup | None:
    """Return names with what is known of each, or None where nothing is."""
    known = [(name, text) for name, text in facts if text]
    if not known:
        return None
    groups = (element("div", element("dt", name), element("dd", text), class_=_breadth(text)) for name, text in known)
    return element("dl", *groups, class_="facts")


def _breadth(text: str) -> str | None:
    return "wide" if len(text) > 60 else "broad" if len(text) > 19 else None


def _said(name: str, value: Any) -> str:
    if name == "memory_gb" and isinstance(value, int | float):
        return f"{value:g} GB"
    if name == "mhz":
        return _clocks(value)
    return _plain(value)


def _change(name: str, before: Any, after: Any) -> tuple[str, str]:
    """Return how something stood before the run and after it, once where it stayed."""
    said = dict.fromkeys(_said(name, value) for value in (before, after) if value is not None)
    title = _NAMES.get(name, _spaced(name))
    return f"{title}, before → after" if len(said) > 1 else title, " → ".join(said)


def _clocks(value: Any) -> str:
    given = value if isinstance(value, list | tuple) else [value]
    clocks = [clock for clock in given if isinstance(clock, int | float)]
    if not clocks or len(clocks) < len(given):
        return _plain(value)
    low, high = significant(min(clocks) / 1000), significant(max(clocks) / 1000)
    return f"{low} GHz" if low == high else f"{low}-{high} GHz"


def _plain(value: Any) -> str:
    """Return a value of the document in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{_spaced(str(name))} {_plain(item)}" for name, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
