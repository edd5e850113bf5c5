"""Outputs as JSON lines: plain values, each with its row's number or id; it opens no file."""

import json
from typing import Any

import numpy as np

from .record import Outcome


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return a result as JSON; arrays become lists, numbers of numpy plain ones."""
    return json.dumps(value, indent=indent, ensure_ascii=False, default=_plain)


def json_line(outcome: Outcome, *, with_input: bool = False) -> str:
    """Return the line of a row: its number, its id if it has one, its input if that is wanted, output or error."""
    row = outcome.row
    content: dict[str, Any] = {"number": row.number}
    content |= {} if row.id is None else {"id": row.id}
    content |= {"input": row.value} if with_input and row.error is None else {}
    if outcome.error is None:
        return json_text({**content, "output": outcome.output})
    return json_text({**content, "error": str(outcome.error), "exit_code": outcome.error.exit_code})


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else str(value)
