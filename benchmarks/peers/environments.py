"""`./dev peer [NAME...]`: set up a peer in an environment of its own, `.peers/NAME`, from the pins in peers.toml."""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vitrify.bench.process import BackendError, last_line
from vitrify.runtime.machine import this_machine

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENTS = ROOT / ".peers"
_DATA = Path(__file__).with_name("peers.toml")


@dataclass(frozen=True)
class Peer:
    """A row of peers.toml, which says what the fields mean."""

    name: str
    module: str
    shown: Sequence[str] = ()
    packages: Sequence[str] = ()
    source: Sequence[str] = ()
    cmake: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where its module is imported from."""
        return ROOT

    @property
    def environment(self) -> Path:
        return ENVIRONMENTS / self.name

    @property
    def switches(self) -> list[str]:
        """CMake's options: on where this CPU has the feature."""
        features = this_machine().cpu_features
        return [f"-D{option}={'ON' if feature in features else 'OFF'}" for option, feature in self.cmake.items()]

    @property
    def key(self) -> str:
        """What an environment that is set up was made from: the pins, and the CPU's features where it is built."""
        text = json.dumps([list(self.packages), list(self.source), self.switches])
        return hashlib.sha256(text.encode()).hexdigest()

    def python(self) -> str:
        """Return the interpreter that runs the peer; raise BackendError if it is not set up as peers.toml says."""
        if not self.packages:
            return sys.executable
        stamp = self.environment / ".made-from"
        if not stamp.is_file():
            raise BackendError(f"not installed: run ./dev peer {self.name}")
        if stamp.read_text() != self.key:
            raise BackendError(f"installed in other versions than peers.toml says: run ./dev peer {self.name}")
        return str(self.environment / "bin" / "python")


def read_peers(path: Path = _DATA) -> dict[str, Peer]:
    """Return the peers by name."""
    return {name: Peer(name, **fields) for name, fields in tomllib.loads(path.read_text()).items()}


def find_peer(name: str) -> Peer:
    """Return a peer; raise BackendError for a name that is none."""
    peers = read_peers()
    if name not in peers:
        raise BackendError(f"no peer '{name}' (there are: {', '.join(peers)})")
    return peers[name]


def set_up(peer: Peer) -> None:
    """Make the peer's environment if it is not there as peers.toml says; raise BackendError if that fails."""
    try:
        peer.python()
    except BackendError:
        _install(peer)


def _install(peer: Peer) -> None:
    # What lies there was made from other pins, or never finished: nobody knows from what, so nothing of it may stay.
    venv.create(peer.environment, clear=True, with_pip=True)
    # A wheel that was built for another CPU may lie in pip's cache under the same name.
    source = ["--no-cache-dir", "--no-binary", ",".join(peer.source)] if peer.source else []
    command = [str(peer.environment / "bin" / "python"), "-m", "pip", "install", "--quiet", *source, *peer.packages]
    built = {"CMAKE_ARGS": " ".join(peer.switches)} if peer.source else {}
    parallel = {"CMAKE_BUILD_PARALLEL_LEVEL": str(this_machine().cores)}
    done = subprocess.run(command, env=os.environ | parallel | built, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise BackendError(f"did not install: {last_line(done.stderr)}")
    (peer.environment / ".made-from").write_text(peer.key)


def main() -> None:
    """Set up the peers that are named; without a name, say which there are and how they stand."""
    parser = argparse.ArgumentParser(prog="./dev peer", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a peer of peers.toml, or 'all'")
    names = parser.parse_args().names
    failed = False
    try:
        chosen = list(read_peers().values()) if names in ([], ["all"]) else [find_peer(name) for name in names]
    except BackendError as error:
        sys.exit(str(error))
    for peer in chosen:
        name = peer.name
        try:
            if names:
                set_up(peer)
            peer.python()
            print(f"{name}: ready ({', '.join(peer.packages[:1]) or 'the project itself'})")
        except BackendError as error:
            failed = True
            print(f"{name}: {error}", file=sys.stderr if names else sys.stdout)
        except KeyboardInterrupt:
            sys.exit(f"{name}: interrupted; run ./dev peer {name} again")
    sys.exit(1 if failed and names else 0)


if __name__ == "__main__":
    main()
