"""The shapes that an engine is built for: a profile's ranges of named axes, put onto a graph's inputs.

TensorRT takes ranges that contradict each other, and names that no input has, without a word. Here they are refused.

1. Every dynamic axis of the graph has a range. A set that names `past` is for graphs with a cache, and only for them.
2. `total`, the length of a mask over cached and new tokens, is `past` + `sequence` at each of the three sizes.
3. A range stays within what the graph takes; one written with "~" shrinks to it, `sequence` before `past`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...profiles import Profile, Range
from ...runtime.bundle.engines import Shapes
from ...runtime.errors import UsageError
from ...runtime.graphs.signature import Axis, Tensor

_TOTAL, _PARTS = "total", ("sequence", "past")
Ranges = Mapping[str, Range]


def engine_shapes(inputs: Sequence[Tensor], limits: Mapping[str, Axis], profile: Profile) -> dict[str, Shapes]:
    """Return, for each of the profile's sets that is for a graph with these inputs, the shapes of those.

    `limits` are what the graph takes. A graph whose sizes are all fixed has no set. Raises UsageError, naming the axis.
    """
    axes = {axis for tensor in inputs for axis in tensor.axes if isinstance(axis, str)}
    if not axes:
        return {}
    chosen = {name: ranges for name, ranges in profile.shape_ranges.items() if ("past" in ranges) == ("past" in axes)}
    if not chosen:
        raise UsageError(
            f"profile '{profile.name}' has no set of ranges {'with' if 'past' in axes else 'without'} 'past', which "
            f"this graph needs (its axes: {', '.join(sorted(axes))}): add one to its [shape_ranges]"
        )
    return {
        name: _shapes(inputs, _fitted(ranges, axes, limits, what=f"profile '{profile.name}', set '{name}'"))
        for name, ranges in chosen.items()
    }


def override(profile: Profile, given: Ranges) -> Profile:
    """Return the profile with these ranges in each set that names their axes; raise UsageError for an axis in none."""
    named = {axis for ranges in profile.shape_ranges.values() for axis in ranges}
    if unknown := sorted(set(given) - named):
        raise UsageError(f"shapes: no set of profile '{profile.name}' has the axis '{unknown[0]}': {sorted(named)}")
    sets = {
        name: {axis: given.get(axis, own) for axis, own in ranges.items()}
        for name, ranges in profile.shape_ranges.items()
    }
    return replace(profile, shape_ranges=sets)


def _fitted(ranges: Ranges, axes: set[str], limits: Mapping[str, Axis], *, what: str) -> dict[str, Range]:
    """Return the range of each of the graph's axes, `total` among them."""
    if missing := sorted(axes - set(ranges) - {_TOTAL}):
        raise UsageError(f"{what} has no range for the axis '{missing[0]}' of this graph: add {missing[0]} = '1:8:32'")
    found = {axis: _within(ranges[axis], limits.get(axis, Axis(0)), axis, what) for axis in axes - {_TOTAL}}
    most = limits.get(_TOTAL, Axis()).maximum
    if _TOTAL in limits and set(_PARTS) <= set(found):
        found.update(_summed(found, most, what))
    return found


def _within(wanted: Range, limit: Axis, axis: str, what: str) -> Range:
    low, high = limit.minimum, limit.maximum if limit.maximum is not None else wanted.maximum
    if wanted.minimum >= low and wanted.maximum <= high:
        return wanted
    if not wanted.shrinks or wanted.minimum > high or wanted.maximum < low:
        least = f"{low}..{limit.maximum}" if limit.maximum is not None else f"at least {low}"
        raise UsageError(f"{what}: '{axis}' is {wanted}, the graph accepts {least}: write --shapes {axis}=…")
    return _between(wanted, max(low, wanted.minimum), min(high, wanted.maximum))


def _between(wanted: Range, low: int, high: int) -> Range:
    return replace(wanted, minimum=low, maximum=high, optimum=min(max(wanted.optimum, low), high))


def _summed(found: Mapping[str, Range], most: int | None, what: str) -> dict[str, Range]:
    """Return `sequence` and `past` with their sum, `total`, which is at most `most`."""
    sequence, past = found["sequence"], found["past"]
    if most is not None and sequence.maximum + past.minimum > most and sequence.shrinks:
        sequence = _within(sequence, Axis(0, most - past.minimum), "sequence", what)
    least = sequence.maximum + past.minimum
    if most is not None and least <= most < sequence.maximum + past.maximum and past.shrinks:
        past = _within(past, Axis(0, most - sequence.maximum), "past", what)
    sizes = [a + b for a, b in zip(_three(sequence), _three(past), strict=True)]
    if most is not None and sizes[2] > most:
        raise UsageError(
            f"{what}: sequence {sequence} and past {past} reach {sizes[2]} tokens, the model accepts {most}: "
            "write --shapes past=…"
        )
    return {"sequence": sequence, "past": past, _TOTAL: Range(sizes[0], sizes[1], sizes[2])}


def _three(found: Range) -> tuple[int, int, int]:
    return found.minimum, found.optimum, found.maximum


def _shapes(inputs: Sequence[Tensor], ranges: Ranges) -> Shapes:
    def at(tensor: Tensor, which: int) -> tuple[int, ...]:
        return tuple(axis if isinstance(axis, int) else _three(ranges[axis])[which] for axis in tensor.axes)

    dynamic = [tensor for tensor in inputs if any(isinstance(axis, str) for axis in tensor.axes)]
    return {tensor.name: (at(tensor, 0), at(tensor, 1), at(tensor, 2)) for tensor in dynamic}
