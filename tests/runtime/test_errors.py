"""A message is one line, whatever a file's name or content in it."""

import pickle

import pytest

from vitrify.runtime.errors import DependencyMissing, UsageError


@pytest.mark.parametrize("cls", [UsageError, DependencyMissing])
def test_a_message_is_one_printable_line(cls):
    error = cls("no 'a\nb\x1b[31m\ud800' in '東京é'")
    assert str(error) == "no 'a\\nb\\x1b[31m\\ud800' in '東京é'"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
