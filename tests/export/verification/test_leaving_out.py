"""What an export says of profiles that fail beside others."""

import pytest

from vitrify.export.verification.leaving_out import advice
from vitrify.profiles import load_profile

THREE = [load_profile(name) for name in ("cpu-fp32", "cpu-w8", "cpu-int8")]


@pytest.mark.parametrize(
    ("failed", "words"),
    [
        (["cpu-int8"], "leave out cpu-int8: vitrify export MODEL --profile cpu-fp32 --profile cpu-w8"),
        (["cpu-w8", "cpu-int8"], "leave out cpu-w8 and cpu-int8: vitrify export MODEL --profile cpu-fp32"),
        (["cpu-fp32", "cpu-w8", "cpu-int8"], ""),
    ],
    ids=str,
)
def test_what_to_leave_out_is_named_with_the_command(failed, words):
    assert advice(failed, THREE) == words
