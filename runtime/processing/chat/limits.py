"""What a chat template may cost: a meter of one rendering, and checks of what makes much out of little.

A check looks at the arguments of a filter or of a text's method before it runs; it returns nothing, or the arguments
to go on with. Everything here refuses with SecurityError. Import it late: it imports jinja2.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from string import Formatter
from typing import Any

from jinja2.sandbox import SecurityError

SOURCE = 1 << 17  # characters of a template; real ones have up to some 20 000
LONGEST = 1 << 24  # weight of one value: characters (four for one beyond ASCII), and 8 for each item
MOST = 1 << 28  # weight of all values of one rendering, and of its ticks
TICK = 64
SECONDS = 3.0
COMPARED = 1 << 28  # characters of one search
BITS = 4096  # of a number

_BRACKET, _SPEC = re.compile(r"[()]"), re.compile(r"[^a-zA-Z%]*")


class Meter:
    """What one rendering has cost so far; SecurityError as soon as it is too much."""

    def __init__(self, seconds: float) -> None:
        self.spent = 0
        self._deadline = time.monotonic() + seconds
        self._seconds = seconds

    def spend(self, weight: int = 0) -> None:
        """Count one tick and this much made."""
        self.spent += TICK + weight
        if self.spent > MOST:
            raise SecurityError(f"it does not end, or makes more than {MOST >> 20} million characters")
        if time.monotonic() > self._deadline:
            raise SecurityError(f"it takes longer than {self._seconds:g} seconds")

    def expect(self, weight: float) -> None:
        """Refuse what would make a value this heavy."""
        if weight > LONGEST:
            raise SecurityError(f"it makes a value of more than {LONGEST >> 20} million characters")

    def take(self, value: Any) -> Any:
        """Count what holds the value itself, and look at how much hangs on it; return it."""
        if isinstance(value, int) and value.bit_length() > BITS:
            raise SecurityError("it makes a number of more than a thousand digits")
        if isinstance(value, str):
            self.expect(weight := weigh(value))
        elif isinstance(value, (list, tuple, Mapping)):
            self.expect(weigh(value))
            weight = 8 * len(value)
        else:
            weight = 0
        self.spend(weight)
        return value


def weigh(value: Any) -> int:
    """Return the weight of a value and of all that it holds, each as often as it is held; no more than is too much."""
    total, waiting = 0, [value]
    while waiting and total <= LONGEST:
        item = waiting.pop()
        total += 8
        if isinstance(item, str):
            total += len(item) if item.isascii() else 4 * len(item)
        elif isinstance(item, Mapping):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, (list, tuple)) or type(item).__name__ in {"dict_items", "dict_keys", "dict_values"}:
            waiting += item
    return total


def check_product(meter: Meter, operator: str, left: Any, right: Any) -> None:
    """Check `*` and `**`."""
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        if bits > BITS:
            raise SecurityError("it makes a number of more than a thousand digits")
        return
    for value, times in ((left, right), (right, left)):
        if isinstance(value, (str, list, tuple)) and isinstance(times, int):
            meter.expect(weigh(value) * times)


def check_percent(meter: Meter, text: str, values: Any) -> None:
    """Check `text % values`."""
    fields = list(counted_items(meter, _percent_specs(text)))
    _check_specs(fields, too_free="*")
    meter.expect(len(fields) * weigh(values))


def _percent_specs(text: str) -> Iterator[str]:
    """Yield the width and the flags of each field of `text % values`, up to the first that Python refuses.

    Names in brackets are skipped as Python does, brackets in them counted; every character is looked at once.
    """
    at = 0
    while (at := text.find("%", at) + 1) > 0:
        if text.startswith("(", at):
            at = _after_brackets(text, at)
            if at < 0:
                return
        found = _SPEC.match(text, at)
        assert found is not None
        yield found[0]
        at = found.end() + 1


def _after_brackets(text: str, at: int) -> int:
    """Return the place after the bracket that closes the one at `at`; -1 where none does."""
    depth = 0
    for found in _BRACKET.finditer(text, at):
        depth += 1 if found[0] == "(" else -1
        if not depth:
            return found.end()
    return -1


def _check_percent_filter(meter: Meter, text: Any, *args: Any, **kwargs: Any) -> None:
    check_percent(meter, str(text), kwargs or args)


def _check_format(meter: Meter, text: str, *args: Any, **kwargs: Any) -> None:
    try:
        parts = counted_items(meter, Formatter().parse(text))
        specs = [spec or "" for _, name, spec, _ in parts if name is not None]
    except ValueError:
        return  # it will say so itself
    _check_specs(specs, too_free="{")
    meter.expect(len(specs) * weigh([args, kwargs]))


def _check_specs(specs: Iterable[str], *, too_free: str) -> None:
    for spec in specs:
        if too_free in spec or re.search(r"\d{4}", spec):
            raise SecurityError(f"it formats with the width {spec!r}: three digits are allowed, and no {too_free!r}")


def _check_replace(meter: Meter, text: Any, old: Any = "", new: Any = "", count: Any = None) -> None:
    text, old, new = str(text), str(old), str(new)
    found = text.count(old)
    times = min(found, count) if isinstance(count, int) and count >= 0 else found
    meter.expect(weigh(text) + times * weigh(new))


def _check_search(_meter: Meter, text: Any, sought: Any = None, *_: Any, **__: Any) -> None:
    """Check what looks for each character of one text in each of another: no clock stops it."""
    if isinstance(sought, str) and len(sought) * len(str(text)) > COMPARED:
        raise SecurityError("it looks for a long text in a long one")


def _check_join_method(meter: Meter, separator: str, items: Any = ()) -> tuple[Any]:
    return (_joinable(meter, items, separator),)


def _check_join(meter: Meter, value: Any, d: Any = "", attribute: Any = None) -> tuple[Any, ...]:
    return (_joinable(meter, value, d), d, attribute)


def _joinable(meter: Meter, items: Any, separator: Any) -> Any:
    """Return the items as a list, weighed: a generator may yield one long text many times."""
    if not isinstance(items, (str, list, tuple)):
        items = list(counted_items(meter, items))
    meter.expect(weigh(items) + len(items) * weigh(str(separator)))
    return items


def counted_items(meter: Meter, items: Iterable[Any]) -> Iterator[Any]:
    """Yield the items, each a tick."""
    for item in items:
        meter.spend()
        yield item


def _check_width(meter: Meter, _text: Any, *args: Any, **kwargs: Any) -> None:
    for number in (*args, *kwargs.values()):
        if isinstance(number, int):
            meter.expect(8 * number)


def _check_tabs(meter: Meter, text: str, *args: Any, **kwargs: Any) -> None:
    _check_width(meter, text, *(len(text) * number for number in (*args, *kwargs.values()) if isinstance(number, int)))


def _check_indent(meter: Meter, s: Any, width: Any = 4, *_: Any, **__: Any) -> None:
    added = width if isinstance(width, int) else weigh(width)
    meter.expect(weigh(str(s)) + (len(str(s).splitlines()) + 1) * added)


def _check_round(_meter: Meter, _value: Any, precision: Any = 0, *_: Any, **__: Any) -> None:
    if not isinstance(precision, int) or abs(precision) > 100:
        raise SecurityError(f"it rounds to {precision!r} digits: at most 100 are allowed")


def _check_sum(_meter: Meter, _items: Any, attribute: Any = None, start: Any = 0) -> None:  # noqa: ARG001 - by name
    if not isinstance(start, (int, float)):
        raise SecurityError("it sums up what is not a number")


def _check_tojson(
    meter: Meter,
    value: Any,
    ensure_ascii: Any = False,  # noqa: ARG001 - by name
    indent: Any = None,
    separators: Any = None,
    sort_keys: Any = None,  # noqa: ARG001
) -> None:
    items, depth = _extent(value)
    step = len(indent) if isinstance(indent, Sized) else max(indent or 0, 0)
    around = sum(map(len, separators)) if separators else 4
    meter.expect(weigh(value) + items * (around + step * depth))


def _extent(value: Any) -> tuple[int, int]:
    """Return how many items a value holds, and how deep they lie in each other."""
    items, depth, level = 0, 0, [value]
    while level := [item for holder in level for item in _held(holder)]:
        items, depth = items + len(level), depth + 1
    return items, depth


def _held(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else []


METHOD_CHECKS: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(("lstrip", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "strip"), _check_search),
    "center": _check_width,
    "expandtabs": _check_tabs,
    "format": _check_format,
    "format_map": _check_format,
    "join": _check_join_method,
    "ljust": _check_width,
    "replace": _check_replace,
    "rjust": _check_width,
    "zfill": _check_width,
}
FILTER_CHECKS: Mapping[str, Callable[..., Any]] = {
    "batch": _check_width,
    "center": _check_width,
    "format": _check_percent_filter,
    "indent": _check_indent,
    "join": _check_join,
    "replace": _check_replace,
    "round": _check_round,
    "slice": _check_width,
    "sum": _check_sum,
    "tojson": _check_tojson,
    "trim": _check_search,
}
