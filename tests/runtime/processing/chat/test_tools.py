"""Tools as JSON schemas beside transformers' get_json_schema."""

import enum
import json
from typing import Any, Literal, Optional, Union

import numpy as np
import pytest
from transformers.utils import get_json_schema

from vitrify.runtime.errors import UsageError
from vitrify.runtime.processing.chat.tools import function_schema, tool_schemas


def multiply(a: float, b: list[int], how: Literal["fast", "slow"] = "fast") -> float:
    """
    Multiply a number with others.

    Args:
        a: The number, of any
            size at all
        b: The others
        how: How to do it (choices: ["fast", "slow"])

    Returns:
        The product.
    """
    return a * sum(b) * len(how)


class Color(enum.Enum):
    RED = "red"
    BLUE = 2


def deep(
    self,
    one: int,
    two: Optional[str],  # noqa: UP045 - what callers write
    three: Union[int, str, None],  # noqa: UP007
    four: dict[str, list[float]],
    five: tuple[int, str],
    six: Color = Color.RED,
    seven: Any = None,
    eight: Literal[1, "a", None] = 1,  # noqa: PYI061
    nine: list | int = 3,
    ten: list[int] | int = 3,
) -> list[str] | None:
    """Do much: a lot.

    It has a second part.

    Args:
        one: First
        two: Second: with a colon
        three: Third (choices: [1, "b "])

        four: Fourth
            goes on
            and on: truly
        five: Fifth
        six: 6
        seven: 7
        eight: 8
        nine: 9
        ten: 10
    Returns:
        Something.
    Raises:
        ValueError: never
    """


def bare() -> None:
    """Do nothing."""


def unknown_return(a: int) -> np.ndarray:
    """Make one.

    Args:
        a: Its size
    """


class Kind:
    def method(self, a: bool) -> None:
        """Do it.

        Args:
            a: Whether
        """


@pytest.mark.parametrize("function", [multiply, deep, bare, unknown_return, Kind().method], ids=lambda f: f.__name__)
def test_same_schema_as_transformers(function):
    assert json.dumps(function_schema(function)) == json.dumps(get_json_schema(function))


def no_doc(a: int): ...


def no_hint(a):
    """Do.

    Args:
        a: it
    """


def no_description(a: int):
    """Do."""


def strange(a: np.ndarray):
    """Do.

    Args:
        a: it
    """


def bad_choices(a: str):
    """Do.

    Args:
        a: it (choices: x, y)
    """


def lost(a: "Nowhere"):  # noqa: F821 - that is the point
    """Do.

    Args:
        a: it
    """


@pytest.mark.parametrize(
    "tool", [no_doc, no_hint, no_description, strange, bad_choices, lost, len, 3, "look", None, Kind]
)
def test_a_tool_that_is_none(tool):
    with pytest.raises(UsageError):
        tool_schemas([tool])
