"""Rows of the README's table for works that several ways did: one for each of vitrify's profiles, its peers beside."""

from typing import Any

Row = tuple[str, str, str]
# Ways that are a profile's own, beside that profile alone.
_OWN = ("bare steps", "first turn")


def work_rows(result: dict[str, Any]) -> list[Row]:
    """Return the rows of every work, and one more where a way has no figure."""
    rows = []
    for work, found in result["work"].items():
        name = f"{result['what']}: {work}"
        profiles = list(dict.fromkeys(key.split(" / ")[1] for key in found["ratios"])) or list(found["seconds"])
        rows += [(f"{name}, `{each}`", _figure(found, each), _beside(found, each)) for each in profiles]
        if found.get("failed"):
            rows.append((name, "", "no figure: " + "; ".join(f"{way}: {why}" for way, why in found["failed"].items())))
    return rows


def speed(spread: dict[str, float]) -> str:
    return f"{spread['median']:.1f} tokens/s [{spread['q1']:.1f}-{spread['q3']:.1f}]"


def milliseconds(spread: dict[str, float]) -> str:
    digits = 0 if spread["median"] >= 0.02 else 1
    middle, low, high = (f"{1000 * spread[name]:.{digits}f}" for name in ("median", "q1", "q3"))
    return f"{middle} ms [{low}-{high}]"


def times(spread: dict[str, float]) -> str:
    return f"{spread['median']:.2f}x [{spread['q1']:.2f}-{spread['q3']:.2f}]"


def _beside(found: dict[str, Any], profile: str) -> str:
    """Return the figures of the others, each with its ratio to the profile's."""
    cells = []
    for key, ratio in found["ratios"].items():
        other, mine = key.split(" / ")
        own = other.removesuffix(f" {mine}")
        if mine != profile or (other.startswith(_OWN) and own not in _OWN):
            continue
        if own == "first turn":
            share, low, high = (f"{1 / ratio[name]:.0%}" for name in ("median", "q3", "q1"))
            cells.append(f"{share} [{low}-{high}] of its first turn's {_figure(found, other)}")
        elif own == "bare steps":
            cells.append(f"its graph's bare steps {_figure(found, other)} = {times(ratio)}")
        else:
            cells.append(f"{other} {_figure(found, other)} = {times(ratio)}")
    return "; ".join(cells)


def _figure(found: dict[str, Any], way: str) -> str:
    speeds = found.get("tokens_per_second")
    figure = speed(speeds[way]) if speeds else milliseconds(found["seconds"][way])
    errors = found.get("made", {}).get(way, {}).get("word_errors")
    return figure if not errors else f"{figure} ({errors:.1%} of the words are others)"
