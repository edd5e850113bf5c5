"""docs/cli.md is that of the commands, and names every environment variable of ours."""

import re

from tests.cli_page import PAGE, page, variables
from vitrify.cli.app import ORDER


def test_the_page_is_that_of_the_commands():
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.cli_page writes it again"


def test_every_command_has_a_section():
    assert re.findall(r"^### vitrify (.*)$", page(), re.MULTILINE) == list(ORDER)


def test_every_variable_of_ours_is_on_the_page():
    assert variables()
    assert {name for name in variables() if f"`{name}`" not in page()} == set()
