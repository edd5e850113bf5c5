"""tests/where.toml is what the imports say: every module has tests, and each of them reaches the module."""

import tomllib

import pytest

from tests.imports import modules
from tests.where import PAGE, TESTS, arrows, has_code, named_by_test, page

WHERE = tomllib.loads(PAGE.read_text(encoding="utf-8"))
KNOWN = modules()
ARROWS = arrows(KNOWN)


def reached(start):
    """Return all modules that some modules import, and those import, and so on."""
    found, left = set(), set(start)
    while left:
        name = left.pop()
        found.add(name)
        left |= ARROWS[name] - found
    return found


def test_the_page_is_made_from_the_imports():
    assert PAGE.read_text(encoding="utf-8") == page(), "write it again: python -m tests.where"


def test_every_module_has_a_test():
    assert [name for name, path in KNOWN.items() if has_code(path) and not WHERE.get(name)] == []


@pytest.mark.parametrize("test", sorted({test for tests in WHERE.values() for test in tests}))
def test_a_listed_test_reaches_its_modules(test):
    listed = {name for name, tests in WHERE.items() if test in tests}
    assert listed <= reached(named_by_test(TESTS / test, KNOWN))


def test_imports_by_name_are_seen():
    assert "runtime.pipelines.fill_mask" in ARROWS["runtime.tasks"]
    assert "cli.__main__" in ARROWS["runtime.sources.compile_once"]
    assert "bench.child" in ARROWS["bench.process"]
