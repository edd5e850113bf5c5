"""Rows of files: formats, encodings, line ends, fields, and rows that cannot be read."""

import pytest

from vitrify.runtime.errors import UsageError
from vitrify.runtime.rows.files import read_rows


@pytest.fixture
def rows(tmp_path):
    def read(name, content, field=None):
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return list(read_rows(tmp_path / name, field=field))

    return read


def values(found):
    return [row.value for row in found]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("last", [True, False])
def test_a_text_on_each_line(rows, end, bom, last):
    found = rows("texts.txt", bom + end.join(["one", "", '{"text": "a"}']) + end * last)
    assert values(found) == ["one", "", '{"text": "a"}']
    assert [row.number for row in found] == [1, 2, 3]
    assert found[-1].share == 1.0


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize(
    ("content", "field", "expected"),
    [
        (['"one"', "", '["a", "b"]', "3"], None, [("one", None), (["a", "b"], None), (3, None)]),
        (['{"id": 7, "text": "one"}', '{"text": "two"}'], None, [({"text": "one"}, 7), ({"text": "two"}, None)]),
        (['{"id": "a", "text": "one", "label": 1}'], "text", [("one", "a")]),
        (['{"id": "a"}'], "id", [("a", "a")]),
    ],
)
def test_json_lines(rows, content, field, expected, end, bom):
    found = rows("rows.jsonl", bom + end.join(content), field)
    assert [(row.value, row.id) for row in found] == expected


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize(
    ("content", "field", "expected"),
    [
        (["text", "one", '"two, ""2"""', "", "three"], None, [("one", None), ('two, "2"', None), ("three", None)]),
        (["id,text", "7,one"], None, [({"text": "one"}, "7")]),
        (["id,text,label", "7,one,1", '8,"a\nb",0'], "text", [("one", "7"), ("a\nb", "8")]),
        (["text"], "text", []),
    ],
)
def test_csv(rows, content, field, expected, end, bom):
    found = rows("rows.csv", bom + end.join(content), field)
    assert [(row.value, row.id) for row in found] == expected


def test_tabs(rows):
    assert values(rows("rows.tsv", "id\ttext\n1\ta, b\n", "text")) == ["a, b"]


@pytest.mark.parametrize(
    ("name", "content", "field", "said"),
    [
        ("a.txt", b"one\nb\xff\nthree\n", None, r"a\.txt line 2 is not valid UTF-8 \(byte 1\)"),
        ("a.jsonl", b'"one"\n"b\xff"\n"three"\n', None, r"a\.jsonl line 2 is not valid UTF-8"),
        ("a.jsonl", b'"one"\n{b}\n"three"\n', None, r"a\.jsonl line 2 is not JSON"),
        ("a.jsonl", b'{"t": "one"}\n{"x": 1}\n{"t": "three"}', "t", r"line 2: it has no field 't' \(fields: x\)"),
        ("a.jsonl", b'{"t": "one"}\n7\n{"t": "three"}', "t", "line 2: it is a int, so it has no field 't'"),
        ("a.csv", b"t,n\none,1\nb\xff,2\nthree,3\n", "t", r"a\.csv line 3 is not valid UTF-8"),
        ("a.csv", b"t,n\none,1\ntwo\nthree,3\n", "t", r"a\.csv line 3 has 1 column, the header has 2"),
        ("a.csv", b't,n\none,1\n"two"x,2\nthree,3\n', "t", r"a\.csv line 3 is not CSV"),
    ],
)
def test_a_row_that_cannot_be_read_leaves_the_others(rows, name, content, field, said):
    first, bad, last = rows(name, content, field)
    assert (first.value, last.value) == ("one", "three")
    assert [row.number for row in (first, bad, last)] == [1, 2, 3]
    with pytest.raises(UsageError, match=said):
        raise bad.error


@pytest.mark.parametrize(
    ("name", "content", "field", "said"),
    [
        ("a.csv", "", None, "has no header"),
        ("a.csv", "a,b\n1,2\n", "c", r"has no column 'c' \(columns: a, b\)"),
        ("a.csv", "a,a\n1,2\n", "a", "has the column 'a' twice"),
        ("a.txt", "a\n", "text", "so no field 'text'"),
        ("a.json", "[]", None, "one JSON document"),
    ],
)
def test_a_file_that_is_none_is_told_before_its_rows(tmp_path, name, content, field, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=said):
        read_rows(tmp_path / name, field=field)


@pytest.mark.parametrize("name", ["nowhere.jsonl", "", "a\0b"])
def test_a_file_that_is_not_there(tmp_path, name):
    with pytest.raises(UsageError, match="no file of inputs"):
        read_rows(tmp_path / name)
