"""docs/profiles.md names every key of a profile with its default, and no other; its example files are profiles."""

import re
from dataclasses import MISSING, fields

import pytest

from tests.imports import ROOT
from vitrify.profiles import AXES, Half, Profile, Quantization, Tolerance, WeightQuantization, load_profile

PAGE = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")
TABLES = {
    "## Keys": Profile,
    "### [tolerance]": Tolerance,
    "### [quantization]": Quantization,
    "### [weights]": WeightQuantization,
    "### [half]": Half,
}
KEY = re.compile(r"^\| `(\w+)` \| (?:`(.*?)`|(required|the file's name)) \|", re.MULTILINE)


def section(title):
    (text,) = re.findall(rf"^{re.escape(title)}\n(.*?)^##", PAGE, re.MULTILINE | re.DOTALL)
    return text


def default(each):
    if each.default_factory is not MISSING:
        return repr(each.default_factory())
    return "" if each.default is MISSING else repr(each.default)


@pytest.mark.parametrize(("title", "cls"), TABLES.items(), ids=str)
def test_every_key_is_listed_with_its_default(title, cls):
    listed = [(name, shown) for name, shown, _ in KEY.findall(section(title))]
    assert listed == [(each.name, default(each)) for each in fields(cls)]


def test_every_axis_is_named():
    assert [axis for axis in AXES if f"`{axis}`" not in section("### [shape_ranges.NAME]")] == []


@pytest.mark.parametrize("text", re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
def test_an_example_is_a_profile(text, tmp_path):
    path = tmp_path / text.splitlines()[0].removeprefix("# ")
    path.write_text(text)
    assert load_profile(path).name == path.stem
