"""The page: its parts in order, and the data in it. It asks for nothing from outside and runs no script."""

import math
from collections.abc import Iterable
from typing import Any

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from ...version import __version__
from ..result import Result
from .charts import legend
from .drawing import element
from .plots import Plot, by_latency, by_rate, by_size, distribution, ratios, roofline
from .reading import Reading, read
from .sections import columns_for, environment, failures, interruption, settings, verdicts
from .style import STYLE
from .tables import loads_table, ratios_table, rows_table

# Not even a name that slipped through escaping may load or run anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_GUIDE = (
    ("p50, p95", "half of all calls take at most p50; 95 of 100 take at most p95, and the other five take longer."),
    ("ratio", "how many times as long the peer takes, from calls of the same rounds: at 2x ours takes half the time."),
    ("[a-b]", "the quartiles: half of what was measured lies between. Where 1 lies inside, no difference is claimed."),
    ("limit", "what the machine can do at most in that precision, arithmetic or memory, by the peaks of this run."),
    ("first call", "the first one after loading, which may build or compile; load is what came before it, in ms."),
    ("drift", "how far the outputs are from PyTorch's in float32, as recorded when the model was exported."),
    ("peak MB", "the most memory of the backend's process that was resident while it ran."),
)


def page_of(result: Result) -> str:
    """Return the whole HTML document."""
    reading = read(result)
    name = str(result.model.get("name") or "a model")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", f"{name}: vitrify bench"),
        element("style", STYLE),
    )
    body = element("body", _header(reading, name), element("main", *_sections(reading)), _footer(reading))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _header(reading: Reading, name: str) -> Markup:
    model = reading.result.model
    tasks = model.get("tasks") or model.get("task") or ()
    digest = str(model.get("digest") or "").removeprefix("sha256:")[:12]
    source = str(model.get("source") or "")
    facts = [
        f"from {source}" if source and source != name else "",
        str(model.get("architecture") or ""),
        tasks if isinstance(tasks, str) else ", ".join(map(str, tasks)),
        f"digest {digest}" if digest else "",
    ]
    said = [element("li", fact) for fact in facts if fact]
    about = element("ul", *said, class_="about") if said else None
    title = element("h1", name)
    return element("header", element("p", "vitrify bench", class_="kind"), title, about)


def _sections(reading: Reading) -> Iterable[Markup | None]:
    yield interruption(reading)
    yield _section("In short", verdicts(reading))
    yield failures(reading)
    yield _section("Machine", environment(reading))
    yield _section("Figures", rows_table(reading), ratios_table(reading), loads_table(reading))
    for plot in (distribution, by_size, by_latency, by_rate, ratios, roofline):
        if (found := plot(reading)) is not None:
            yield _plot(reading, found)


def _section(title: str, *parts: Markup | None) -> Markup | None:
    known = [part for part in parts if part is not None]
    return element("section", element("h2", title), *known) if known else None


def _plot(reading: Reading, plot: Plot) -> Markup | None:
    names = legend(reading, plot.legend) if plot.legend else None
    note = element("p", plot.left_out, class_="note") if plot.left_out else None
    panels = element("div", *plot.panels, class_=f"panels {columns_for(len(plot.panels))}")
    return _section(plot.title, element("p", plot.how, class_="how"), names, panels, note)


def _footer(reading: Reading) -> Markup:
    guide = (element("div", element("dt", name), element("dd", text), class_="wide") for name, text in _GUIDE)
    return element(
        "footer",
        _section("How it was measured", settings(reading)),
        _section("How to read it", element("dl", *guide, class_="facts")),
        element("p", f"Made by vitrify {__version__}. The whole result, every sample, is in this file as JSON."),
        element("script", _data(reading.result), type="application/json", id="result"),
    )


def _data(result: Result) -> Markup:
    """Return the document as JSON that cannot end the element it stands in, null for what is no number."""
    return htmlsafe_json_dumps(_finite(result.to_json()), ensure_ascii=True, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
