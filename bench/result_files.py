"""The files of a result: a folder with its JSON, its CSV and the report."""

from contextlib import suppress
from pathlib import Path

from ..runtime.bundle.files import replace_synced
from ..runtime.errors import EnvironmentMissing
from .result import Result

RESULT = "result.json"


def writable_folder(folder: Path) -> Path:
    """Return the folder; raise EnvironmentMissing where it cannot be written. One that is not there yet is not made."""
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise EnvironmentMissing(f"'{folder}' cannot be written ({error.strerror}): choose another with -o") from error
    finally:
        for path in absent:
            with suppress(OSError):  # one that was not made, or that another process has filled
                path.rmdir()
    return folder


def write_outputs(result: Result, folder: Path) -> dict[str, str]:
    """Write result.json, result.csv and report.html, and return their paths.

    Raises EnvironmentMissing where the disk is full; a file that was there is whole then, the old one or the new.
    """
    from .report import html_report

    paths = {"json": folder / RESULT, "csv": folder / "result.csv", "html": folder / "report.html"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths.values(), (result.to_text(), result.to_csv(), html_report(result)), strict=True):
            replace_synced(path, text)
    except OSError as error:
        raise EnvironmentMissing(f"the result cannot be written to '{folder}' ({error.strerror})") from error
    return {name: str(path) for name, path in paths.items()}
