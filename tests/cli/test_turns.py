"""What is typed in `vitrify chat`, as turns."""

import pytest

from vitrify.cli.turns import Turn, read_turns


def turns(*typed):
    left = iter(typed)

    def ask(_prompt):
        line = next(left, EOFError())
        if isinstance(line, BaseException):
            raise line
        return line

    return list(read_turns(ask))


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["hello", "", "  ", "more"], [Turn("hello"), Turn("more")]),
        (["one\\", "two\\", "three", "four"], [Turn("one\ntwo\nthree"), Turn("four")]),
        (['"""', "one", "", "/reset", '"""', "two"], [Turn("one\n\n/reset"), Turn("two")]),
        (
            ["/reset", "/system be brief", "/what is it"],
            [Turn("", "/reset"), Turn("be brief", "/system"), Turn("is it", "/what")],
        ),
        (["//usr is a folder"], [Turn("/usr is a folder")]),
        (["one", "/exit", "two"], [Turn("one")]),
        ([KeyboardInterrupt(), "one"], [Turn("", "interrupted"), Turn("one")]),
        (["one\\", KeyboardInterrupt(), "two"], [Turn("", "interrupted"), Turn("two")]),
        (['"""', "one", EOFError()], []),
    ],
)
def test_turns(typed, expected):
    assert turns(*typed) == expected
