"""TensorRT-RTX's runtime cache on disk: what it compiled for this GPU, so that the next process need not.

TensorRT-RTX itself refuses a cache of another GPU, driver or release.
"""

import contextlib
import tempfile
from pathlib import Path
from typing import Any


class RuntimeCache:
    """The cache of one engine, at `path`; `config` is what its execution contexts are made with.

    A file that cannot be read, written or used costs time and is no error.
    """

    def __init__(self, engine: Any, path: Path) -> None:
        self._path = path
        self._known = b""
        self._engine: Any = engine  # must outlive its cache
        self.config: Any = engine.create_runtime_config()
        self._cache: Any = self.config.create_runtime_cache()
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            self._known = content if self._cache.deserialize(content) else b""
        self.config.set_runtime_cache(self._cache)

    def close(self) -> None:
        """Write the file, where it would change, and let go of TensorRT's objects."""
        with contextlib.suppress(OSError):
            self._write(bytes(self._cache.serialize()))
        self._cache = self.config = self._engine = None

    def _write(self, content: bytes) -> None:
        if content == self._known:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("wb", dir=self._path.parent, delete=False) as file:
            file.write(content)
        Path(file.name).replace(self._path)
