"""What a measurement runs on, made once for a set of sources: vitrify's bundles, and what peers make of a checkpoint.

They lie in the user's cache, keyed by what they were made from; those of other sources go when new ones are there.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrify.bench.process import BackendError, last_line
from vitrify.runtime.bundle.digests import cache_folder, remembered_digest
from vitrify.runtime.sessions.telemetry import without_telemetry

from .peers.environments import ROOT, Peer

_SOURCES = ("export", "runtime", "profiles", "constraints.txt")
_TUNING_ROUNDS = 5


@dataclass(frozen=True)
class Bundles:
    """What `vitrify export` made of a checkpoint: the bundle of each profile, or why it was refused.

    `reports` are what the command said with --json.
    """

    folders: dict[str, str]
    refused: dict[str, str]
    reports: list[dict[str, Any]]

    def folder(self, profile: str) -> Path:
        """Return the bundle that holds the profile; raise BackendError with the reason if none does."""
        if profile not in self.folders:
            raise BackendError(f"does not export: {self.refused[profile]}")
        return Path(self.folders[profile])


def export_bundles(name: str, checkpoint: Path, profiles: Sequence[str]) -> Bundles:
    """Return the bundles of a checkpoint, exported in child processes unless these very sources did before."""
    key = _key(_sources_digest(), _checkpoint_digest(checkpoint), *profiles)
    note = _made(f"bundle-{name}", key, lambda folder: _export_all(checkpoint, folder, profiles)) / "exported.json"
    found = json.loads(note.read_text())
    folders = {profile: str(note.parent / folder) for profile, folder in found["folders"].items()}
    return Bundles(folders, found["refused"], found["reports"])


def tuned_bundle(bundles: Bundles, *, max_drift: float) -> Path:
    """Run `vitrify tune` on a checkpoint's bundle, and return it: `auto` takes what was the fastest on this machine.

    Raises BackendError if nothing could be tuned.
    """
    folder = next(iter(bundles.folders.values()), None)
    if folder is None:
        raise BackendError("no profile exports")
    command = [_vitrify(), "tune", folder, "--max-drift", str(max_drift), "--rounds", str(_TUNING_ROUNDS), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackendError(f"tune: {last_line(done.stderr)}")
    return Path(folder)


def make_for_peer(peer: Peer, recipe: str, checkpoint: Path, *, name: str = "") -> Path:
    """Return what the peer's own tool makes of a checkpoint; raise BackendError if it is not there or fails.

    `name` tells checkpoints apart of which it makes the same.
    """
    python, arguments = peer.python(), peer.made[recipe]
    versions = peer.key if peer.packages else _key((ROOT / "constraints.txt").read_text())
    key = _key(versions, *arguments, _checkpoint_digest(checkpoint))

    def make(folder: Path) -> None:
        words = [word.format(checkpoint=checkpoint, out=folder / "made", scratch=folder) for word in arguments]
        done = subprocess.run(
            [python, *words], cwd=ROOT, env=without_telemetry(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BackendError(f"makes nothing of the checkpoint: {last_line(done.stderr or done.stdout)}")

    return _made("-".join(filter(None, [peer.name, recipe, name])), key, make) / "made"


def _export_all(checkpoint: Path, folder: Path, profiles: Sequence[str]) -> None:
    """Export all profiles as one bundle; those that an error names are left out, and if it names none, each alone."""
    left, found = list(profiles), {"folders": {}, "refused": {}, "reports": []}
    while left:
        report = _export(checkpoint, folder / "bundle", left)
        if "error" not in report:
            found["folders"] |= dict.fromkeys(left, "bundle")
            found["reports"].append(report)
            break
        named = [profile for profile in left if profile in report["error"].split(":")[0]] or left[:1] * (len(left) == 1)
        if not named:
            for profile in left:
                alone = _export(checkpoint, folder / profile, [profile])
                found["refused" if "error" in alone else "folders"][profile] = alone.get("error", profile)
                found["reports"] += [] if "error" in alone else [alone]
            break
        found["refused"] |= dict.fromkeys(named, report["error"])
        left = [profile for profile in left if profile not in named]
    (folder / "exported.json").write_text(json.dumps(found, indent=1))


def _export(checkpoint: Path, out: Path, profiles: Sequence[str]) -> dict[str, Any]:
    wanted = [word for profile in profiles for word in ("--profile", profile)]
    command = [_vitrify(), "export", str(checkpoint), "-o", str(out), "--json", *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)
    except ValueError:
        return {"error": last_line(done.stderr)}


def _vitrify() -> str:
    return str(Path(sys.executable).with_name("vitrify"))


def _made(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of this name and key; it is complete or not there."""
    folder = cache_folder() / "benchmarks" / f"{name}-{key}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"making {name}, once for these sources", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as scratch:
        whole = Path(scratch) / "whole"
        whole.mkdir()
        make(whole)
        for old in folder.parent.glob(f"{name}-{'[0-9a-f]' * len(key)}"):
            shutil.rmtree(old)
        whole.replace(folder)
    return folder


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _sources_digest() -> str:
    files = [path for name in _SOURCES for path in (sorted((ROOT / name).rglob("*")) or [ROOT / name])]
    kept = [path for path in files if path.suffix in (".py", ".toml", ".txt")]
    return _key(*(f"{path.relative_to(ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in kept))


def _checkpoint_digest(checkpoint: Path) -> str:
    files = (path for path in sorted(checkpoint.iterdir()) if path.is_file())
    return _key(*(f"{path.name} {remembered_digest(path)}" for path in files))
