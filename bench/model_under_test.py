"""What is measured: a bundle, or a checkpoint that is compiled first, and where each profile's bundle lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..runtime.bundle.manifest import Bundle
from ..runtime.bundle.reading import read_bundle
from ..runtime.errors import VitrifyError
from ..runtime.sources.compile_once import is_compiled
from ..runtime.sources.hub import Request
from ..runtime.sources.resolve import bundle_folder
from ..runtime.tasks import find_task
from .process import BackendError


@dataclass(frozen=True)
class ModelUnderTest:
    """`folders` are the bundles by profile; `checkpoint` is where the weights came from, as far as it is known."""

    bundle: Bundle
    folders: Mapping[str, Path]
    checkpoint: Request | None

    def checkpoint_folder(self) -> Path:
        """Return the checkpoint's folder, downloaded where it is missing; raise BackendError where none is known."""
        if self.checkpoint is None:
            raise BackendError("needs the original checkpoint: pass --checkpoint FOLDER")
        try:
            return self.checkpoint.resolve().folder
        except VitrifyError as error:
            raise BackendError(str(error)) from error


def find_model(
    request: Request, *, task: str | None, profiles: Sequence[str], checkpoint: str | None
) -> ModelUnderTest:
    """Return what a caller named: a bundle's folder, a checkpoint's folder or a Hub id.

    Without `profiles` all that a bundle holds are measured, or cpu-fp32 of a checkpoint. A checkpoint is compiled into
    the user's cache, each profile for itself. Raises UsageError for a profile that a bundle does not hold.
    """
    row = find_task(task) if task else None
    first = bundle_folder(row, request, profiles[0] if profiles else None)
    bundle = read_bundle(first, profiles[0] if profiles else None)
    if is_compiled(first):
        others = {name: bundle_folder(row, request, name) for name in profiles[1:]}
        return ModelUnderTest(
            bundle, dict.fromkeys(bundle.builds, first) | others, Request(checkpoint) if checkpoint else request
        )
    for name in profiles:
        if name != "auto":
            bundle.profile(name)
    return ModelUnderTest(bundle, dict.fromkeys(profiles or bundle.builds, first), _origin(bundle, checkpoint))


def _origin(bundle: Bundle, checkpoint: str | None) -> Request | None:
    """Return the checkpoint that is named, or else the Hub's that the bundle was made from."""
    if checkpoint is None and bundle.source.revision is None:
        return None
    return Request(checkpoint) if checkpoint else Request(bundle.source.id, bundle.source.revision)
