"""What a task makes of one input: pieces, each a row for one run of the graph."""

from dataclasses import dataclass
from typing import Any

from ...numerics import Row


@dataclass(frozen=True)
class Piece:
    """What one run of the graph needs for one row: `feeds` without the batch axis, and the task's own `context`."""

    feeds: Row
    context: Any = None
