"""What is measured: a bundle, or a checkpoint that is compiled first, and where each profile's bundle lies."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..runtime.bundle.manifest import MANIFEST, Bundle
from ..runtime.bundle.reading import read_bundle
from ..runtime.errors import UsageError, VitrifyError
from ..runtime.sources.compile_once import is_compiled
from ..runtime.sources.request import Request
from ..runtime.sources.resolve import bundle_folder, resolve_source
from ..runtime.tasks import Task, find_task
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
            return resolve_source(self.checkpoint).folder
        except VitrifyError as error:
            raise BackendError(str(error)) from error

    def pytorch_folder(self) -> Path:
        """Return the checkpoint's folder; raise BackendError unless its config.json is of the bundle's model type."""
        folder, expected = self.checkpoint_folder(), self.bundle.model_type
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            found = config["model_type"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BackendError(f"needs the original checkpoint, and '{folder}' has no config.json of one") from error
        if found != expected:
            raise BackendError(
                f"needs the original checkpoint, a '{expected}', and '{folder}' is a '{found}': "
                "choose another with --checkpoint"
            )
        return folder


def find_model(
    request: Request, *, task: str | None, profiles: Sequence[str], checkpoint: str | None
) -> ModelUnderTest:
    """Return what a caller named: a bundle's folder, a checkpoint's folder or a Hub id.

    Without `profiles` all that a bundle holds are measured, or cpu-fp32 of a checkpoint. A checkpoint is compiled into
    the user's cache, each profile for itself. Raises UsageError for a profile that a bundle does not hold.
    """
    row = find_task(task) if task else None
    check_task_of_bundle(row, request)
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


def check_task_of_bundle(row: Task | None, request: Request) -> None:
    """Raise UsageError for a task that a bundle's folder does not support."""
    folder = Path(str(request.model))
    if row is not None and (folder / MANIFEST).is_file():
        served = read_bundle(folder).tasks
        if row.name not in served:
            raise UsageError(f"'{folder}' does not support task '{row.name}' (supported: {', '.join(served)})")


def _origin(bundle: Bundle, checkpoint: str | None) -> Request | None:
    """Return the checkpoint that is named, or else the Hub's that the bundle was made from."""
    if checkpoint is None and bundle.source.revision is None:
        return None
    return Request(checkpoint) if checkpoint else Request(bundle.source.id, bundle.source.revision)
