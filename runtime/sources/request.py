"""What a caller named, a folder or a Hub id, and the folder that it came to; it knows nothing of the Hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError


@dataclass(frozen=True)
class Source:
    """A folder with a checkpoint or a bundle; `revision` is the commit of a Hub id, None for a local folder."""

    folder: Path
    id: str
    revision: str | None = None


@dataclass(frozen=True)
class Request:
    """A folder or a Hub id, and how it may be got; with `graphs` what others compiled will do, of `profile`."""

    model: Any
    revision: str | None = None
    token: str | bool | None = None
    local_files_only: bool = False
    trust_remote_code: bool = False
    allow_pickle: bool = False
    graphs: bool = False
    profile: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.model, (str, Path)) and not str(self.model).strip():
            raise UsageError("the model's name is empty: pass a folder or a Hub id such as 'owner/name'")


def check_revision(folder: str | Path, revision: str | None) -> None:
    """Raise UsageError for a revision of a local folder, which has none."""
    if revision is not None:
        raise UsageError(f"'{folder}' is a folder, which has no revision '{revision}': leave --revision out")
