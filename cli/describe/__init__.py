"""What `vitrify info`, `profiles` and `doctor` print: each a JSON document, and the same as lines of text."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

Description = tuple[dict[str, Any], Sequence[str | Table]]
