"""Every field of bundle.json, of each wrong type: refused with 7 in one line that names it."""

import copy
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.mutations import ARCHIVES
from vitrify.runtime.bundle.manifest import MANIFEST, Bundle
from vitrify.runtime.errors import IntegrityError

OTHERS = (5, 1.5, "x y", True, [], ["x"], {}, {"x": 1}, [[1]], None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("manifest")
    with tarfile.open(ARCHIVES / "decoder.tar.gz") as archive:
        archive.extractall(place, filter="data")
    return place / "decoder"


@pytest.fixture(scope="module")
def content(folder):
    return json.loads((folder / MANIFEST).read_text())


def refusal(folder, text):
    """Return what is said of a manifest, None where it is read."""
    path = folder / MANIFEST
    kept = path.read_bytes()
    try:
        path.write_text(text)
        Bundle.read(folder)
    except IntegrityError as error:
        return str(error)
    finally:
        path.write_bytes(kept)
    return None


def with_value(content, place, value):
    changed = copy.deepcopy(content)
    holder = changed
    for key in place[:-1]:
        holder = holder[key]
    if value is ...:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return json.dumps(changed)


def places(value, place=()):
    """Yield the places of all fields, of a list only its first and its last."""
    if place:
        yield place
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    for key, item in pairs if isinstance(value, dict) else pairs[:1]:
        yield from places(item, (*place, key))


def kind_of(value):
    return float if type(value) is int else type(value)


def test_every_field_of_another_type_is_refused_by_name(folder, content):
    tried = 0
    for place in places(content):
        now = content
        for key in place:
            now = now[key]
        for value in OTHERS:
            if kind_of(value) is kind_of(now) or value is None or now is None:
                continue
            if kind_of(now) is float and kind_of(value) is float:
                continue
            said = refusal(folder, with_value(content, place, value))
            if said is None:
                assert _may_be_other(place, value), (place, value)
                continue
            tried += 1
            assert "\n" not in said
            assert len(said) < 700
            assert place[0] in said or "schema" in said, (place, value, said)
    assert tried > 500


def _may_be_other(place, value):
    """Tell what has more than one type: an axis has a name or a size, an option's values are the provider's."""
    return "axes" in place and (isinstance(value, str) or type(value) is int)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("builds", "cpu-fp32", "profile", "name"), "a" * 5000, "builds.cpu-fp32.profile"),
        (("builds", "cpu-fp32", "graphs", "model"), "a" * 5000, "names 'aaa"),
        (("axes", "batch", "minimum"), 10**12, "axes.batch is 1000000000000 to"),
        (("axes", "batch", "minimum"), -1, "axes.batch is -1"),
        (("graphs", "model", "inputs", 0, "axes", 0), 10**12, "graphs.model.inputs"),
        (("graphs", "model", "inputs", 0, "dtype"), "int65", "expected one of bfloat16"),
        (("schema",), True, "has schema True"),
        (("schema",), 2, "install the vitrify"),
        (("schema",), ..., "has schema None"),
        (("builds",), {}, "builds is empty"),
        (("builds", "cpu-fp32", "profile", "name"), "cpu-fp33", "expected 'cpu-fp32'"),
        (("builds", "cpu-fp32", "graphs"), {}, "do not make a decoder"),
        (("family",), "encoder", "head is 'causal-lm'"),
        (("family",), "jury", "unknown family|head is"),
        (("tasks",), ["speak"], "no task is called"),
        (("files", "config.json"), "abc", "expected a sha256"),
        (("files",), {"../outside": "0" * 64}, "leaves its folder"),
        (("files",), {"a\0b": "0" * 64}, "without control characters"),
        (("files",), {"a" * 5000: "0" * 64}, "names 'aaa"),
        (("folder",), "/tmp", "folder is an unknown field"),
        (("source", "id"), ..., "source.id is missing"),
    ],
)
def test_what_is_of_the_right_type_and_wrong(folder, content, place, value, said):
    import re

    found = refusal(folder, with_value(content, place, value))
    if found is None:  # a graph's file is looked at when it is opened
        from vitrify import load_bundle

        path = folder / MANIFEST
        kept = path.read_bytes()
        path.write_text(with_value(content, place, value))
        try:
            with pytest.raises(IntegrityError) as refused:
                _ = load_bundle(folder).model
        finally:
            path.write_bytes(kept)
        found = str(refused.value)
    assert re.search(said, found), found
    assert len(found) < 700


def test_a_field_that_is_there_twice_or_no_number(folder, content):
    text = json.dumps(content)
    assert "is there twice" in str(refusal(folder, text[:-1] + ', "head": "base"}'))
    assert "NaN" in str(refusal(folder, with_value(content, ("axes", "batch", "minimum"), float("nan"))))


def test_a_copy_is_read(folder, tmp_path):
    copied = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert Bundle.read(copied).head == "causal-lm"
