"""What generation needs of a loaded bundle; whoever loads one provides it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...profiles import Profile
from ..bundle.manifest import Bundle
from .base import Decoding
from .decoders.prefixes import Prefixes

if TYPE_CHECKING:
    from ..sessions.model import Model


class LoadedGenerator(Protocol):
    """A loaded bundle of a family that generates."""

    name: str
    bundle: Bundle
    profile: Profile
    prefixes: Prefixes

    # A type checker does not take a cached property for the property of a protocol: Any stands for what is said.
    @property
    def config(self) -> Any:
        """The checkpoint's config.json, a mapping."""
        ...

    @property
    def generation_config(self) -> Any:
        """What the checkpoint says of generation, a mapping without None (see `settings.checkpoint_settings`)."""
        ...

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, or None for a bundle without one."""
        ...

    @property
    def graph_set(self) -> Sequence[str]:
        """The names of the graphs that run here."""
        ...

    def graph(self, name: str) -> "Model":
        """Return one of the graphs."""
        ...

    def decoding(self, **inputs: np.ndarray) -> Decoding:
        """Return a decoder with an empty cache; `inputs` are its encoder's."""
        ...

    def assistant(self, folder: str | Path) -> "LoadedGenerator":
        """Return the bundle in a folder that guesses for this one."""
        ...
