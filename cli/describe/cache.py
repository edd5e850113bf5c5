"""What `vitrify cache` prints of each action: what there is, what was removed, what is broken."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from ...runtime.amounts import counted, size_text
from ...runtime.bundle.digests import cache_folder
from ...runtime.errors import IntegrityError, UsageError
from ...runtime.sources.cache import Entry, check_entry, find_entries, outdated, remove_entries
from . import Description


def require_whole(document: Mapping[str, Any]) -> None:
    """Raise IntegrityError if a document names broken entries."""
    if broken := document.get("broken"):
        raise IntegrityError(f"broken in the cache: {len(broken)}. Remove with: vitrify cache rm {' '.join(broken)}")


def _listed(entries: Sequence[Entry], names: Sequence[str], _days: float) -> Description:
    chosen = find_entries(names, entries) if names else entries
    table = Table.grid(padding=(0, 2))
    for entry in chosen:
        table.add_row(entry.where, entry.name, size_text(entry.bytes), f"{counted(round(entry.days), 'day')} ago")
    count = f"{len(chosen)} entr{'y' if len(chosen) == 1 else 'ies'}"
    total = f"{cache_folder()}: {count}, {size_text(sum(entry.bytes for entry in chosen))}"
    document = {"folder": str(cache_folder()), "entries": [_record(entry) for entry in chosen]}
    return document, [total, *([table] if chosen else [])]


def _removed(entries: Sequence[Entry], names: Sequence[str], _days: float) -> Description:
    if not names:
        raise UsageError("cache rm: name what to remove (vitrify cache ls), or use vitrify cache prune")
    return _gone(find_entries(names, entries))


def _pruned(entries: Sequence[Entry], names: Sequence[str], days: float) -> Description:
    return _gone(outdated(find_entries(names, entries) if names else entries, days=days))


def _gone(chosen: Sequence[Entry]) -> Description:
    freed = remove_entries(chosen)
    lines = [*(f"  {entry.where} {entry.name}" for entry in chosen), f"{len(chosen)} removed, {size_text(freed)} freed"]
    return {"removed": [_record(entry) for entry in chosen], "bytes": freed}, lines


def _verified(entries: Sequence[Entry], names: Sequence[str], _days: float) -> Description:
    found = {entry.where: check_entry(entry) for entry in (find_entries(names, entries) if names else entries)}
    broken = {name: reason for name, reason in found.items() if reason is not None}
    lines = [f"  {name}: {reason or 'OK'}" for name, reason in found.items()]
    return {"checked": list(found), "broken": broken}, [*lines, f"{len(found)} checked, {len(broken)} broken"]


def _record(entry: Entry) -> dict[str, Any]:
    return {**vars(entry), "path": str(entry.path), "days": round(entry.days, 2)}


DESCRIPTIONS = {"ls": _listed, "rm": _removed, "prune": _pruned, "verify": _verified}
