"""What another program says of its failure, in one line, and which field it fails at."""

import pytest

from vitrify.export.reasons import culprit_of, reason_of


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("a first line.\nand more"), "a first line"),
        (
            ValueError("Validation error for field 'size':\n    TypeError: expected int, got str"),
            "Validation error for field 'size': expected int, got str",
        ),
        (RuntimeError("ValueError: no such thing"), "no such thing"),
        (KeyError("zz"), "'zz' is unknown"),
        (AssertionError(), "no reason given"),
        (ValueError("x" * 999), "x" * 300),
    ],
)
def test_a_reason_is_a_line(error, said):
    assert reason_of(error) == said


def attempt(settings):
    if settings.get("size", 1) < 1 or settings.get("inner", {}).get("act", "relu") != "relu":
        raise ValueError


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "x", "size": 0}, "size is 0"),
        ({"name": "x", "size": -1, "inner": {"act": "relu"}}, "size is -1"),
        ({"inner": {"width": 3, "act": "a\nb"}}, "inner.act is 'a\\nb'"),
        ({"size": 0, "inner": {"act": "tanh"}}, None),
        ({"name": "x", "size": 3}, None),
    ],
)
def test_the_field_at_fault_is_named(settings, said):
    assert culprit_of(settings, attempt) == said
