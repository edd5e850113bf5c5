"""`--sweep`: all profiles of all types, from where the last sweep of these very sources stopped.

The controller of pytest-xdist, or pytest alone, keeps the names of tests that passed and the rows that they found;
its workers only leave out what has passed.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import engines_table, types_table

# What a test records, by the property's name, and the table that keeps it.
TABLES = {"row": types_table, "engine": engines_table}
KINDS = {".py", ".toml", ".txt", ".jinja", ".json"}


def digest_of(root: Path) -> str:
    """Return a digest of the package, its tests, their data and constraints, and the pages whose snippets run."""
    found = [path for path in root.iterdir() if path.suffix in KINDS] + [*root.glob("*.md"), *root.glob("docs/*.md")]
    for folder in root.iterdir():
        if folder.is_dir() and not folder.name.startswith(".") and folder.suffix != ".egg-info":
            found += [path for path in folder.rglob("*") if path.suffix in KINDS]
    digest = hashlib.sha256()
    written = {root / file for table in TABLES.values() for file in (table.RESULTS, table.PAGE)}
    written.add(root / engines_table.TRUE_SIZES)
    for path in sorted(set(found) - written):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


class Sweep:
    """The plugin: `passed` are the tests that passed in earlier runs, by their ids.

    Its file has a line for each test that ended, so that a sweep may be killed at any moment.
    """

    def __init__(self, config: pytest.Config) -> None:
        given = getattr(config, "workerinput", None)
        self.controls = given is None
        self.failed: set[str] = set()
        if given is None:
            folder = Path(config.cache.mkdir("sweep"))
            self.file = folder / f"{digest_of(config.rootpath)}.jsonl"
            for other in set(folder.iterdir()) - {self.file}:
                other.unlink()
            self.file.touch()
            self.passed = {line["test"] for line in self.lines() if line["passed"]}
        else:
            self.passed = set(given["passed"])

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node) -> None:
        node.workerinput["passed"] = sorted(self.passed)

    def pytest_report_header(self) -> str:
        return f"sweep: {len(self.passed)} tests have passed on these sources already"

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in self.passed])
        items[:] = [item for item in items if item.nodeid not in self.passed]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)
        if self.controls and report.when == "teardown":
            found = {kind: [row for name, row in report.user_properties if name == kind] for kind in TABLES}
            line = {"test": report.nodeid, "passed": report.nodeid not in self.failed, **found}
            with self.file.open("a") as stream:
                stream.write(f"{json.dumps(line)}\n")

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if not self.controls:
            return
        lines = self.lines()
        for kind, table in TABLES.items():
            if rows := [row for line in lines for row in line[kind]]:
                table.merge(rows, session.config.rootpath)
        if self.passed and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK
