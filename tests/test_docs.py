"""The README is short, links lead somewhere, tables name what there is, and figures are those of the result files."""

import dataclasses
import re
import tarfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

from benchmarks import table
from benchmarks.highlights import highlights
from vitrify.profiles import profile_names
from vitrify.runtime.bundle.manifest import Bundle
from vitrify.runtime.tasks import TASKS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")


def names(path):
    return path.relative_to(ROOT).as_posix()


def test_the_readme_is_short_and_begins_with_what_a_newcomer_needs():
    lines = README.splitlines()
    assert len(lines) <= 160
    assert len(README.encode()) <= 12_000
    assert max(map(len, lines)) <= 300
    assert next(number for number, line in enumerate(lines, start=1) if "pip install" in line) < 40


@pytest.mark.parametrize("path", PAGES, ids=names)
def test_links_lead_to_files_and_headings(path):
    for target, heading in LINK.findall(path.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            there = path.parent / target if target else path
            assert there.is_file(), target
            assert not heading or heading in headings(there), f"{target}#{heading}"


def headings(path):
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_readme_lists_every_task_as_the_command_does(task):
    ((aliases, summary, default),) = re.findall(rf"^\| `{task.name}`(.*) \| (.*) \| (.*) \|$", README, re.MULTILINE)
    assert default == f"`{task.default[0]}`"
    assert summary == task.summary.split("; also ")[0]
    assert all(f"(`{alias}`)" in aliases for alias in task.aliases)


@pytest.mark.parametrize("name", profile_names())
def test_the_readme_lists_every_profile(name):
    assert re.search(rf"^\| .*`{name}`", README, re.MULTILINE)


def test_the_page_of_the_format_has_every_key_and_every_file():
    page = (ROOT / "docs" / "bundle.md").read_text(encoding="utf-8")
    keys = re.findall(r"^\| (.*?) \|", page.partition("## bundle.json")[2].partition("\n## ")[0], re.MULTILINE)[1:]
    fields = {field.name for field in dataclasses.fields(Bundle)} - {"folder"}
    assert set(re.findall(r"\w+", " ".join(keys))) == {"schema", *fields}
    rows = re.findall(r"^\| (.*?) \|.*\| (yes|no)? ?\|$", page.partition("## bundle.json")[0], re.MULTILINE)
    patterns = {name: listed == "yes" for cell, listed in rows for name in re.findall(r"`(.*?)`", cell)}
    for archive in (ROOT / "tests" / "bundles").glob("*.tar.gz"):
        with tarfile.open(archive) as opened:
            files = [name.partition("/")[2] for name in opened.getnames() if opened.getmember(name).isfile()]
        for name in files:
            assert [name for pattern in patterns if fnmatch(name, pattern)], name
    assert not any(patterns[name] for name in ("bundle.json", "README.md", "reports/*.json"))
    assert patterns["LICENSE*"]


def test_the_page_of_figures_is_that_of_the_result_files():
    page = (ROOT / table.PAGE).read_text(encoding="utf-8")
    assert page == table.page()
    assert max(map(len, page.splitlines())) <= 300


def test_the_figures_of_the_readme_and_of_the_comparison_are_those_of_the_result_files():
    found = highlights(ROOT / table.RESULTS)
    assert len(found.splitlines()) == 5
    for path in table.WITH_HIGHLIGHTS:
        assert f"<!-- figures -->\n{found}<!-- /figures -->" in (ROOT / path).read_text(encoding="utf-8")
