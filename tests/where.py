"""tests/where.toml: which tests cover a module, read from imports; `python -m tests.where` writes it again.

It runs no test: a module that only a comparison with transformers reaches is listed with the tests of what imports it.
"""

import ast
import re
from collections import defaultdict

import vitrify
from tests.imports import ROOT, imports, modules
from vitrify.runtime.tasks import TASKS

TESTS = ROOT / "tests"
PAGE = TESTS / "where.toml"
# A module that more tests than this import is listed with those of its own folder, if there are any.
MANY = 8
HEADER = """\
# Which tests to run after a change to a module; paths are relative to tests/.
# Made by `python -m tests.where` from imports, not from a measured run. A module has the tests that import it; where
# none does, those of its nearest importers. A test in parity/ counts for the pipelines of the tasks that it names.
# Where more than 8 do, only the tests in the module's own folder are listed, if there are any. What parity/ compares
# reaches far more modules than it names: run its test of your task or architecture as well.

"""
# What is imported by name when it is needed: `.module`, `module:Name` or `vitrify.module`.
_BY_NAME = re.compile(r"(?:\.+|vitrify\.)([\w.]+)|([\w.]+):\w+")


def test_files():
    return sorted(TESTS.rglob("test_*.py"))


def named_by_test(path, known):
    """Return the modules that a test imports itself, by name or as the face of vitrify or as its command line."""
    return _own_imports(ast.parse(path.read_text(encoding="utf-8"))) & set(known) | _compared(path, known)


def _own_imports(tree):
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            stem = node.module.removeprefix("vitrify").removeprefix(".")
            if node.module.split(".")[0] == "vitrify":
                found |= {stem, *(f"{stem}.{each.name}".removeprefix(".") for each in node.names)}
                found |= {_face(each.name) for each in node.names if not stem}
            elif any(each.name == "run_vitrify" for each in node.names):
                found.add("cli")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "vitrify":
            found.add(_face(node.attr))
        elif isinstance(node, ast.arg) and node.arg == "vitrify":  # the fixture that runs the command
            found.add("cli")
    return found


def _face(name):
    return vitrify._LAZY.get(name, "").removeprefix(".")


def _compared(path, known):
    """Return the pipelines of the tasks that a comparison names."""
    if path.parent.name != "parity":
        return set()
    words = set().union(*map(_words, [path, *_subjects(path)]))
    rows = (task.implementation.split(":")[0] for task in TASKS if task.name in words)
    return {name for row in rows if (name := f"runtime.pipelines.{row}") in known}


def _subjects(path):
    """Return the files beside a comparison that it imports its cases from."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    stems = {str(node.module).removeprefix("tests.parity.") for node in nodes if isinstance(node, ast.ImportFrom)}
    return [other for other in path.parent.glob("*.py") if other.stem in stems]


def _words(path):
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def arrows(known):
    """Return what each module imports, when it is loaded or by name later."""
    return {name: (imports(path, known) | _by_name(path, known)) - {name} for name, path in known.items()}


def _by_name(path, known):
    words = _words(path)
    stems = [match[1] or match[2] for match in map(_BY_NAME.fullmatch, words) if match]
    found = {name for name in known for stem in stems if f".{name.removesuffix('.__main__')}".endswith(f".{stem}")}
    return found | {name for name, other in known.items() if other.parent == path.parent and other.name in words}


def where():
    """Return the names of the tests that cover each module, relative to tests/."""
    known = modules()
    direct = defaultdict(set)
    for path in test_files():
        for name in named_by_test(path, known):
            direct[name].add(str(path.relative_to(TESTS)))
    importers = defaultdict(set)
    for name, others in arrows(known).items():
        for other in others:
            importers[other].add(name)
    return {name: _fewest(path, _nearest(name, direct, importers)) for name, path in known.items() if has_code(path)}


def has_code(path):
    """Tell whether a module is more than its docstring."""
    return len(ast.parse(path.read_text(encoding="utf-8")).body) > 1


def _nearest(name, direct, importers):
    level, seen = {name}, {name}
    while level and not any(direct[each] for each in level):
        level = set().union(*(importers[each] for each in level)) - seen
        seen |= level
    return set().union(*(direct[each] for each in level))


def _fewest(module, tests):
    folder = TESTS / module.relative_to(ROOT).parent
    own = {name for name in tests if (TESTS / name).parent == folder}
    return sorted(own if own and len(tests) > MANY else tests)


def page():
    """Return the text of where.toml."""
    rows = ((name, "".join(f'  "{test}",\n' for test in tests)) for name, tests in where().items())
    return HEADER + "".join(f'"{name}" = [\n{listed}]\n' for name, listed in rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
