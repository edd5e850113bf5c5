"""What `vitrify profiles` prints: the presets, and which of them this machine can run; no graph is opened."""

from typing import Any

from rich.table import Table

from ...profiles import Profile, load_profile, profile_names
from ...runtime.errors import VitrifyError
from ...runtime.machine import Machine, this_machine
from . import Description


def describe_profiles(*, machine: Machine | None = None) -> Description:
    """Say of each preset what it is, and whether `machine` (default: this one) can run it, or why not."""
    machine = machine or this_machine()
    rows = [_profile(load_profile(name), machine) for name in profile_names()]
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    for row in rows:
        table.add_row(row["profile"], row["description"])
        table.add_row("", row["obstacle"] or "available")
    return {"profiles": rows}, [table]


def _profile(profile: Profile, machine: Machine) -> dict[str, Any]:
    obstacle = _obstacle(profile, machine)
    return {
        "profile": profile.name,
        "description": profile.description,
        "provider": profile.provider,
        "precision": profile.precision,
        "runs_here": obstacle is None,
        "obstacle": obstacle,
    }


def _obstacle(profile: Profile, machine: Machine) -> str | None:
    from ...runtime.selection.profiles import check_machine

    try:
        check_machine(profile, machine)
    except VitrifyError as error:
        return str(error)
    return None
