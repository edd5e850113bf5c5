"""What to say of profiles that fail where others may not: which to leave out of the export, and by what command."""

from collections.abc import Collection, Sequence

from ...profiles import Profile


def advice(failed: Collection[str], targets: Sequence[Profile]) -> str:
    """Return how to export the profiles that are left, as the end of a sentence; empty where none is left."""
    left = [target.name for target in targets if target.name not in failed]
    flags = " ".join(f"--profile {name}" for name in left)
    return f"leave out {' and '.join(failed)}: vitrify export MODEL {flags}" if left else ""
