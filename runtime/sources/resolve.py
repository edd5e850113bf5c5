"""From a name to a folder that runs: a bundle, an ONNX folder, or a checkpoint that is compiled on first use."""

import logging
from dataclasses import replace
from pathlib import Path

from ..bundle.files import given_name
from ..bundle.manifest import MANIFEST
from ..errors import UsageError
from ..tasks import Task
from .request import Request, Source, check_revision

DEFAULT_PROFILE = "cpu-fp32"
_LOG = logging.getLogger("vitrify")


def resolve_source(request: Request) -> Source:
    """Return the folder that was named: itself if it is one, else the Hub id's files, downloaded where missing.

    Raises
    ------
    UsageError
        No such folder, id or revision; no permission.
    UnsupportedError
        The repository contains pickled weights only, and `allow_pickle` is not given; or weights of other frameworks.
    EnvironmentMissing
        Offline and not in the cache, a broken connection (run again: the download resumes), or too little disk.

    """
    folder = Path(request.model)
    if folder.is_dir():
        check_revision(request.model, request.revision)
        return Source(folder, given_name(folder))
    if folder.exists():
        raise UsageError(f"no checkpoint '{folder}': neither a folder nor a Hub id such as 'owner/name'")
    from .hub import from_hub

    return from_hub(request)


def ready_folder(request: Request, profile: str | None) -> Path | None:
    """Return the local folder that was named if it runs as it is, so that its own profiles are what is chosen from."""
    if not isinstance(request.model, (str, Path)) or not Path(request.model).is_dir():
        return None
    check_revision(request.model, request.revision)
    if (Path(request.model) / MANIFEST).is_file():
        return Path(request.model)
    from ..bundle.onnx_folder import folder_names
    from ..bundle.onnx_layout import is_compiled

    folder = resolve_source(request).folder
    return folder if is_compiled(folder_names(folder), profile, allow_pickle=request.allow_pickle) else None


def bundle_folder(task: Task | None, request: Request, profile: str | None) -> Path:
    """Return the folder of the bundle that was named, compiling a checkpoint on first use.

    An ONNX folder is as good as a bundle where there is nothing to compile, or where `profile` is one of its variants.
    """
    model = request.model
    if model is None:
        if task is None:
            raise UsageError("pipeline() needs a task or a model: pipeline('text-classification')")
        model, commit = task.default
        request = replace(request, model=model, revision=request.revision or commit)
    if not isinstance(model, (str, Path)):
        raise UsageError(
            f"model must be a bundle, a checkpoint's folder or a Hub id, got {type(model).__name__}. "
            "Compile a model object first: vitrify.export_bundle(model, folder, tokenizer=tokenizer)"
        )
    if (Path(model) / MANIFEST).is_file():
        check_revision(model, request.revision)
        return Path(model)
    source = resolve_source(replace(request, graphs=True, profile=profile))
    if (source.folder / MANIFEST).is_file() or runs_as_it_is(source, profile, allow_pickle=request.allow_pickle):
        return source.folder
    from .compile_once import compiled_bundle

    return compiled_bundle(
        source,
        task=task.name if task else None,
        profile=profile or DEFAULT_PROFILE,
        trust_remote_code=request.trust_remote_code,
        allow_pickle=request.allow_pickle,
    )


def runs_as_it_is(source: Source, profile: str | None, *, allow_pickle: bool = False) -> bool:
    """Tell whether an ONNX folder runs, and nothing is compiled; log where it could be either."""
    from ..bundle.onnx_folder import folder_names
    from ..bundle.onnx_layout import find_variants, is_compiled, require_known_names

    names = folder_names(source.folder)
    require_known_names(source.id, names)
    runs = is_compiled(names, profile, allow_pickle=allow_pickle)
    if not runs and (variants := find_variants(names)):
        _LOG.info(
            "'%s' contains ONNX graphs too: profile=%s would run them as they are", source.id, next(iter(variants))
        )
    return runs
