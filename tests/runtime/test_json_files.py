"""What JSON may be for its table: each type, and what is refused with the place of the field."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

import pytest

from vitrify.runtime.errors import IntegrityError
from vitrify.runtime.json_files import read_fields, read_object


@dataclass(frozen=True)
class Inner:
    size: int | None = None
    pair: tuple[int, str] = (1, "a")

    def __post_init__(self):
        if self.size == 13:
            raise ValueError("no house has this number")


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Mapping[str, Inner] = field(default_factory=dict)
    flag: bool = False
    share: float = 0.5
    many: tuple[int | str, ...] = ()


class Open(TypedDict, total=False):
    name: str
    tokens: int | Sequence[int]
    inner: Inner


def test_every_type_is_read():
    content = {
        "name": "a",
        "inner": {"x": {"size": None, "pair": [2, "b"]}},
        "flag": True,
        "share": 1,
        "many": [1, "c"],
    }
    assert read_fields(Outer, content, "file") == Outer("a", {"x": Inner(None, (2, "b"))}, True, 1, (1, "c"))
    assert read_fields(Open, {"name": None, "tokens": [1], "other": {"x": []}}, "file") == {
        "tokens": [1],
        "other": {"x": []},
    }


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        (Outer, {}, "name is missing"),
        (Outer, {"name": 5}, "name is 5, expected a text"),
        (Outer, {"name": "a\x1b[31m"}, "name is 'a"),
        (Outer, {"name": "\ud800"}, "name is "),
        (Outer, {"name": "a" * 2**17}, "name is 'aaa.*, expected at most 65536 characters"),
        (Outer, {"name": "a", "nme": 1}, r"nme is an unknown field \(known: name, inner"),
        (Outer, {"name": "a", "flag": 1}, "flag is 1, expected true or false"),
        (Outer, {"name": "a", "share": True}, "share is True, expected a number"),
        (Outer, {"name": "a", "share": float("nan")}, "share is nan"),
        (Outer, {"name": "a", "inner": [1]}, r"inner is \[1\], expected an object"),
        (Outer, {"name": "a", "inner": {"x": {"size": 1.5}}}, "inner.x.size is 1.5, expected a whole number or null"),
        (Outer, {"name": "a", "inner": {"x": {"size": 10**400}}}, "inner.x.size is 1000"),
        (Outer, {"name": "a", "inner": {"x": {"size": 13}}}, "inner.x: no house has this number"),
        (Outer, {"name": "a", "inner": {"x": {"pair": [1]}}}, r"inner.x.pair is \[1\], expected a list of 2"),
        (Outer, {"name": "a", "many": [1, [2]]}, r"many\[1\] is \[2\], expected a whole number or a text"),
        (Open, {"tokens": [1, "x"]}, r"tokens\[1\] is 'x', expected a whole number"),
        (Open, {"tokens": {}}, r"tokens is \{\}, expected a whole number or a list"),
        (Open, {"inner": {"size": "x"}}, "inner.size is 'x'"),
    ],
)
def test_what_is_refused_is_named(kind, content, said):
    with pytest.raises(IntegrityError, match=f"'file' is broken: {said}") as refusal:
        read_fields(kind, content, "file")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("depth", [2, 900])
def test_what_is_shown_is_short(depth):
    value: Any = 1
    for _ in range(depth):
        value = [value] * 2 if depth == 2 else [value]
    with pytest.raises(IntegrityError) as refusal:
        read_fields(Outer, {"name": value}, "file")
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff{}", "not JSON"),
        (b"[" * 10**5, "nested too deep"),
        (b'{"a":' * 10**5, "nested too deep"),
        (b"[1, 2]", r"contains \[1, 2\], not a JSON object"),
        (b"null", "contains None"),
        (b'{"a": 1, "a": 2}', "field 'a' is there twice"),
        (b'{"a": NaN}', "NaN is not a number"),
    ],
)
def test_what_is_no_object(tmp_path, text, said):
    (tmp_path / "file.json").write_bytes(text)
    with pytest.raises(IntegrityError, match=said):
        read_object(tmp_path / "file.json", strict=True)


def test_what_other_programs_write_is_read(tmp_path):
    (tmp_path / "file.json").write_text('{"a": 1, "a": 2, "limits": [0.0, Infinity]}')
    assert read_object(tmp_path / "file.json") == {"a": 2, "limits": [0.0, float("inf")]}


def test_a_file_beyond_all_measure_is_not_read(tmp_path):
    with (tmp_path / "file.json").open("wb") as file:
        file.truncate(2**40)  # of holes
    with pytest.raises(IntegrityError, match="more than"):
        read_object(tmp_path / "file.json")


def test_a_missing_file_is_for_the_caller(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_object(tmp_path / "file.json")
    assert json.dumps({})
