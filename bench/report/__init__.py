"""The report of a benchmark: one HTML file that carries everything, its data too; it measures nothing."""

from ..result import Result


def html_report(result: Result) -> str:
    """Return the page of a result: no script, nothing from outside, readable on a phone and on paper."""
    from .page import page_of

    return page_of(result)
