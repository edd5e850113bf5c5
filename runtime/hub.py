"""Find a checkpoint or a bundle: a local folder, or a Hub id downloaded into the cache shared with huggingface_hub.

Only what an export reads is downloaded, and of weights only safetensors. A bundle's files become real files in
vitrify's own cache: ONNX Runtime refuses external data behind the links that the Hub's cache is made of.
"""

import contextlib
import fnmatch
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bundle import MANIFEST
from .digests import cache_folder
from .errors import EnvironmentMissing, UnsupportedError, UsageError

_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
_SETTINGS = ("*.json", "*.txt", "*.model", "*.jinja", "tokenizer*", "vocab*", "merges*", "spiece*")
_WEIGHTS = ("model.safetensors", "model-?????-of-?????.safetensors", "model.safetensors.index.json")
_PICKLES = ("pytorch_model.bin", "pytorch_model-?????-of-?????.bin", "pytorch_model.bin.index.json")
_ADAPTER = "adapter_config.json"


@dataclass(frozen=True)
class Source:
    """A folder with a checkpoint or a bundle; `revision` is the commit of a Hub id, None for a local folder."""

    folder: Path
    id: str
    revision: str | None = None


def resolve_source(
    model: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
) -> Source:
    """Return the folder that `model` names: itself if it is one, else the Hub id's files, downloaded where missing.

    Raises
    ------
    UsageError
        No such folder, id or revision; no permission.
    UnsupportedError
        The repository holds pickled weights only, and `allow_pickle` is not given.
    EnvironmentMissing
        Offline and not in the cache, a broken connection (run again: the download resumes), or too little disk.

    """
    folder = Path(model)
    if folder.is_dir():
        if revision is not None:
            raise UsageError(f"'{model}' is a folder, which has no revision '{revision}': leave --revision out")
        return Source(folder, folder.resolve().name)
    if folder.exists() or not _ID.fullmatch(str(model)):
        raise UsageError(f"no checkpoint '{model}': neither a folder nor a Hub id such as 'owner/name'")
    return _from_hub(str(model), revision, token, local_files_only, allow_pickle, trust_remote_code)


def _from_hub(
    model: str, revision: str | None, token: Any, local_files_only: bool, allow_pickle: bool, trust_remote_code: bool
) -> Source:
    import huggingface_hub
    from huggingface_hub import constants

    if local_files_only or constants.HF_HUB_OFFLINE:
        return _from_cache(model, revision)
    with _explained(model, revision):
        info = huggingface_hub.HfApi(token=token).model_info(model, revision=revision, files_metadata=True)
    sizes = {item.rfilename: item.size or 0 for item in info.siblings or ()}
    commit = str(info.sha)
    names = _wanted(model, sizes, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code)
    own = cache_folder() / "hub" / model.replace("/", "--") / commit if MANIFEST in sizes else None
    target = own or Path(constants.HF_HUB_CACHE)
    _require_space(target, sum(sizes[name] for name in names))
    with _explained(model, revision):
        folder = huggingface_hub.snapshot_download(
            model, revision=commit, token=token, local_dir=own, allow_patterns=list(names), tqdm_class=_bars()
        )
    return Source(Path(folder), model, commit)


def _from_cache(model: str, revision: str | None) -> Source:
    """Return what an earlier run downloaded."""
    import huggingface_hub

    own = cache_folder() / "hub" / model.replace("/", "--")
    commits = [path for path in own.glob("*") if (path / MANIFEST).is_file() and path.name.startswith(revision or "")]
    if commits:
        newest = max(commits, key=lambda path: path.stat().st_mtime)
        return Source(newest, model, newest.name)
    with _explained(model, revision):
        folder = Path(huggingface_hub.snapshot_download(model, revision=revision, local_files_only=True))
    return Source(folder, model, folder.name)


def _wanted(model: str, names: Iterable[str], *, allow_pickle: bool, trust_remote_code: bool) -> list[str]:
    """Return the files to download; refuse before a byte of weights has travelled."""
    names = list(names)
    if MANIFEST in names:
        return names
    top = [name for name in names if "/" not in name]
    settings = _matching(top, (*_SETTINGS, *(("*.py",) if trust_remote_code else ())))
    weights = _matching(top, _WEIGHTS)
    pickles = _matching(top, _PICKLES)
    if weights or _ADAPTER in top:
        return sorted({*settings, *weights} - {*pickles})
    if not pickles:
        raise UsageError(f"'{model}' holds no model.safetensors: it is no checkpoint of transformers")
    if not allow_pickle:
        raise UnsupportedError(
            f"'{model}' holds pickled weights only ({pickles[0]}): a pickle can run code when it is opened. Take a "
            "revision with model.safetensors, or accept the risk with --allow-pickle"
        )
    return sorted({*settings, *pickles})


def _matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def _require_space(folder: Path, needed: int) -> None:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise EnvironmentMissing(
            f"the download needs {needed / 1e9:.1f} GB and '{existing}' has {free / 1e9:.1f} GB free: free some space, "
            "or point HF_HOME elsewhere"
        )


def _bars() -> Any:
    """Return huggingface_hub's progress bar, silent where stderr is no terminal."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": not sys.stderr.isatty()})

    return Bar


@contextlib.contextmanager
def _explained(model: str, revision: str | None) -> Iterator[None]:
    """Turn what huggingface_hub raises into one sentence of ours."""
    from huggingface_hub import errors

    at = f"'{model}'" + (f" at revision '{revision}'" if revision else "")
    try:
        yield
    except errors.GatedRepoError as error:
        raise UsageError(
            f"{at} is gated: accept its terms on the Hub, then log in (hf auth login) or pass a token"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UsageError(f"the Hub has no revision '{revision}' of '{model}': check --revision") from error
    except errors.LocalEntryNotFoundError as error:
        raise EnvironmentMissing(
            f"{at} is not in the cache and the Hub cannot be reached: check the connection, or HF_HUB_OFFLINE"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UsageError(
            f"the Hub has no {at}, or not for you: check the name; if private, log in (hf auth login) or pass a token"
        ) from error
    except errors.HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in {401, 403}:
            raise UsageError(f"the Hub refuses {at} ({status}): log in (hf auth login) or pass a token") from error
        raise EnvironmentMissing(f"the Hub failed on {at} ({status}): run again, the download resumes") from error
    except (errors.HFValidationError, errors.IncompleteSnapshotError) as error:
        raise UsageError(f"{at} cannot be had from the Hub: {str(error).splitlines()[0]}") from error
    except OSError as error:
        raise _from_os_error(at, error) from error
    except Exception as error:
        if not type(error).__module__.startswith(("httpx", "httpcore")):
            raise
        raise EnvironmentMissing(
            f"the connection to the Hub broke on {at} ({type(error).__name__}): run again, the download resumes"
        ) from error


def _from_os_error(at: str, error: OSError) -> EnvironmentMissing:
    if type(error) is OSError or error.errno is not None:
        return EnvironmentMissing(f"{at} cannot be stored ({error}): check space and permissions of HF_HOME")
    return EnvironmentMissing(f"the connection to the Hub broke on {at} ({error}): run again, the download resumes")
