"""Users of the Hub, each a process of its own with caches of its own.

huggingface_hub reads its environment when it is imported, so no client can share this process.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from tests.conftest import SECONDS

# Resolves argv[1] with the JSON options argv[2]; prints the source, or the error's name and sentence.
CLIENT = """
import json, sys
from vitrify.runtime.errors import VitrifyError
from vitrify.runtime.sources.request import Request
from vitrify.runtime.sources.resolve import resolve_source
try:
    source = resolve_source(Request(sys.argv[1], **json.loads(sys.argv[2])))
    found = {"folder": str(source.folder), "id": source.id, "revision": source.revision}
except VitrifyError as error:
    found = {"error": type(error).__name__, "said": str(error)}
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Client:
    """One user of the Hub: an environment with caches of its own."""

    env: dict

    def command(self, name, options):
        return [sys.executable, "-c", CLIENT, name, json.dumps(options)]

    def resolve(self, name, *, offline=False, **options):
        env = {**self.env, "HF_HUB_OFFLINE": "1"} if offline else self.env
        done = subprocess.run(
            self.command(name, options), env=env, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("Traceback") == 0
        lines = done.stdout.splitlines()
        assert len(lines) == 1, "something else was printed"
        found = json.loads(lines[0])
        assert "\n" not in found.get("said", "")
        return found


def client_of(url, folder):
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "VITRIFY_"))}
    own = {"HF_ENDPOINT": url, "HF_HOME": str(folder / "hf"), "VITRIFY_CACHE": str(folder / "vitrify")}
    return Client(
        {**keep, **own, "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1,localhost", "HF_HUB_DISABLE_TELEMETRY": "1"}
    )
