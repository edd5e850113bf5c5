"""A Hub id becomes a folder: its files are downloaded into the cache shared with huggingface_hub.

Only what an export reads is downloaded, and of weights only safetensors; of what others compiled, the graphs of one
precision. A bundle's files, and such graphs, become real files in vitrify's own cache: ONNX Runtime refuses external
data behind the links that the Hub's cache is made of. Files are downloaded here and not by huggingface_hub, which drops
what it has of a file when its process ends, and takes all that a server sends.
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from ..bundle.checkpoint_files import CONFIG, Listing, documents_of, settings_of, weights_of
from ..bundle.digests import cache_folder
from ..bundle.manifest import MANIFEST
from ..errors import EnvironmentMissing, IntegrityError, UsageError
from ..json_files import brief, read_object
from .announced import Announced, checked_size, resume
from .explained import explained
from .listed import list_repository
from .request import Request, Source

_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def from_hub(request: Request) -> Source:
    """Return the folder of a Hub id, whose missing files are downloaded; for errors see `resolve_source`.

    With `graphs` a repository may also contain what others compiled; of its precisions only that of `profile` is
    downloaded (None: fp32, or the only one).
    """
    model, revision, token = str(request.model), request.revision, request.token
    if not _ID.fullmatch(model):
        raise UsageError(f"no checkpoint '{model}': neither a folder nor a Hub id such as 'owner/name'")
    if revision is not None and (".." in revision.split("/") or revision.startswith("/")):
        raise UsageError(f"'{revision}' is not a revision: pass a branch, a tag or a commit")
    from huggingface_hub import constants

    if request.local_files_only or constants.HF_HUB_OFFLINE:
        return _from_cache(model, revision, request)
    with explained(model, revision):
        named, files = list_repository(model, revision, token)
    commit = _checked(model, named)
    sizes = {name: checked_size(name, row.get("size", 0)) for name, row in files.items()}
    listing = Listing(
        model, sizes, sizes.__contains__, lambda name: _fetch_small(model, name, files[name], commit, token)
    )
    names = _wanted(listing, request)
    _checked(model, commit, names)
    has_graphs = MANIFEST in names or any(name.endswith(".onnx") for name in names)
    root = _own_root(model) if has_graphs else _shared_root(model)
    own = root / commit if has_graphs else None
    missing = {name: files[name] for name in names if not _is_here(model, name, commit, own)}
    _require_space(root, sum(sizes[name] for name in missing))
    with explained(model, revision):
        _fetch(model, commit, missing, token, root, own)
    if revision != commit:
        _remember(root / "refs" / (revision or constants.DEFAULT_REVISION), commit)
    _remember(_listing(model, commit), json.dumps(sizes))
    return Source(own or root / "snapshots" / commit, model, commit)


def _remember(reference: Path, text: str) -> None:
    """Note which commit a branch stands for, or what it holds; a cache that is read-only serves what it has."""
    with contextlib.suppress(OSError):
        if reference.is_file() and reference.read_text() == text:
            return
        reference.parent.mkdir(parents=True, exist_ok=True)
        written = reference.with_name(f"{reference.name}.{os.getpid()}")
        written.write_text(text)
        written.replace(reference)  # a reader never sees half of it


def _own_root(model: str) -> Path:
    return cache_folder("hub") / model.replace("/", "--")


def _shared_root(model: str) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=model, repo_type="model")


def _checked(model: str, commit: str, names: Iterable[str] = ()) -> str:
    """Return the commit; neither it nor a file's name may lead out of the folder they are joined to."""
    outside = [name for name in names if ".." in PurePosixPath(name).parts or name.startswith("/") or "\\" in name]
    if outside or not _COMMIT.fullmatch(commit):
        raise IntegrityError(f"the Hub's answer for '{model}' names {brief((outside or [commit])[0])}: do not trust it")
    return commit


def _fetch_small(model: str, name: str, row: Any, commit: str, token: Any) -> Path:
    """Return where an index or a config is, in the cache shared with huggingface_hub, after downloading it."""
    root = _shared_root(model)
    if not _is_here(model, name, commit, None):
        _checked(model, commit, [name])
        with explained(model, commit):
            _fetch(model, commit, {name: row}, token, root, None)
    return root / "snapshots" / commit / name


def _is_here(model: str, name: str, commit: str, own: Path | None) -> bool:
    from huggingface_hub import try_to_load_from_cache

    if own is not None:
        return (own / name).is_file()
    return isinstance(try_to_load_from_cache(model, name, revision=commit), str)


def _fetch(model: str, commit: str, files: Mapping[str, Any], token: Any, root: Path, own: Path | None) -> None:
    """Download `files` into a folder of their own, or to where huggingface_hub looks for them."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    announced = {name: Announced.of(name, row, commit) for name, row in files.items()}
    for name, content in announced.items():
        final = root / "blobs" / content.key if own is None else own / name
        partial = root / "partial" / content.key
        for folder in (final.parent, partial.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{partial}.lock"):
            if not final.exists():
                url = hf_hub_url(model, name, revision=commit)
                resume(url, partial, content, headers=build_hf_headers(token=token))
                partial.replace(final)
            if own is None:
                _link(final, root / "snapshots" / commit / name)


def _link(blob: Path, name: Path) -> None:
    """Let a name of a snapshot lead to its blob, as huggingface_hub does."""
    name.parent.mkdir(parents=True, exist_ok=True)
    name.unlink(missing_ok=True)  # a link whose blob is gone
    try:
        name.symlink_to(os.path.relpath(blob, name.parent))
    except FileExistsError:  # another process came first
        return
    except OSError:  # Windows without the right to make links
        shutil.copyfile(blob, name)


def _from_cache(model: str, revision: str | None, request: Request) -> Source:
    """Return what an earlier run downloaded."""
    import huggingface_hub
    from huggingface_hub import constants

    own = _own_root(model)
    reference = own / "refs" / (revision or constants.DEFAULT_REVISION)
    commit = reference.read_text() if reference.is_file() else str(revision)
    if (own / commit / MANIFEST).is_file():
        return Source(own / commit, model, commit)
    sizes = _listed(model, commit)
    names = _graph_files(model, list(sizes), request) if request.graphs else []
    if names:
        if missing := [name for name in names if not (own / commit / name).is_file()]:
            raise EnvironmentMissing(f"'{missing[0]}' of '{model}' is not in the cache: run once with a connection")
        return Source(own / commit, model, commit)
    with explained(model, revision):
        folder = Path(
            huggingface_hub.snapshot_download(model, revision=revision, local_files_only=True, allow_patterns=[CONFIG])
        )
    if sizes := _listed(model, folder.name):
        _require_all(model, folder, sizes, request)
    return Source(folder, model, folder.name)


def _require_all(model: str, folder: Path, sizes: Mapping[str, int], request: Request) -> None:
    """Raise EnvironmentMissing unless the folder has what is wanted of a repository with these files."""

    def cached(name: str) -> Path:
        if not (folder / name).is_file():
            raise EnvironmentMissing(
                f"only a part of '{model}' is in the cache, without '{name}': run once with a connection"
            )
        return folder / name

    listing = Listing(model, sizes, sizes.__contains__, cached)
    for name in set(_wanted(listing, request)).difference(documents_of(listing)):  # no tool but ours downloads those
        cached(name)


def _listing(model: str, commit: str) -> Path:
    return _own_root(model) / "listings" / f"{commit}.json"


def _listed(model: str, commit: str) -> dict[str, int]:
    """Return a repository's files with their sizes, as an earlier run or huggingface_hub noted them; else nothing."""
    import huggingface_hub
    from huggingface_hub import errors

    with contextlib.suppress(OSError, IntegrityError):
        return {name: checked_size(name, size) for name, size in read_object(_listing(model, commit)).items()}
    unknown = getattr(errors, "CachedRepoTreeNotFoundError", AttributeError)
    with contextlib.suppress(unknown, AttributeError, OSError, ValueError):  # AttributeError: before huggingface_hub 1
        return {file.path: file.size or 0 for file in huggingface_hub.get_cached_repo_tree(model, revision=commit)}
    return {}


def _wanted(listing: Listing, request: Request) -> list[str]:
    """Return the files to download; refuse before a byte of weights has travelled."""
    if MANIFEST in listing.sizes:
        return list(listing.sizes)
    if request.graphs and (graphs := _graph_files(listing.where, list(listing.sizes), request)):
        return sorted({*settings_of(listing, code=False), *graphs})
    weights = weights_of(listing, allow_pickle=request.allow_pickle)
    return sorted({*settings_of(listing, code=request.trust_remote_code), *weights.names, *documents_of(listing)})


def _graph_files(model: str, names: Sequence[str], request: Request) -> list[str]:
    """Return the files of the graphs that run as they are; none where the repository is to be compiled."""
    from ..bundle.onnx_layout import choose_variant, files_of, find_variants, is_compiled, require_known_names

    require_known_names(model, names)
    if not is_compiled(names, request.profile, allow_pickle=request.allow_pickle):
        return []
    variants = find_variants(names)
    return files_of(names, variants[choose_variant(model, list(variants), request.profile)])


def _require_space(folder: Path, needed: int) -> None:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise EnvironmentMissing(
            f"the download needs {needed / 1e6:,.0f} MB and '{existing}' has {free / 1e6:,.0f} MB free: free some "
            "space, or point HF_HOME elsewhere"
        )
