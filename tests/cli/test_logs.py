"""-v, -q and VITRIFY_LOG: which of them wins, and what is no level."""

import logging

import pytest

from vitrify.cli.logs import VARIABLE, is_quiet, set_level
from vitrify.runtime.errors import UsageError

LOG = logging.getLogger("vitrify")


@pytest.fixture(autouse=True)
def as_before():
    before = LOG.level, list(LOG.handlers)
    yield
    LOG.setLevel(before[0])
    LOG.handlers[:] = before[1]


@pytest.mark.parametrize(
    ("variable", "options", "said"),
    [
        ("", {}, "warning error"),
        ("INFO", {}, "info warning error"),
        ("off", {}, ""),
        ("debug", {"quiet": True}, "error"),
        ("error", {"verbose": 1}, "info warning error"),
        ("", {"verbose": 3}, "debug info warning error"),
    ],
)
def test_what_is_told(monkeypatch, capsys, variable, options, said):
    monkeypatch.setenv(VARIABLE, variable)
    set_level(**options)
    for level in ("debug", "info", "warning", "error"):
        getattr(LOG, level)(level)
    assert capsys.readouterr().err.split() == said.split()
    assert is_quiet() is ("warning" not in said)


@pytest.mark.parametrize(("variable", "options"), [("loud", {}), ("", {"verbose": 1, "quiet": True})])
def test_what_is_no_level(monkeypatch, variable, options):
    monkeypatch.setenv(VARIABLE, variable)
    with pytest.raises(UsageError):
        set_level(**options)
