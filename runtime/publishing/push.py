"""A bundle sent to a repository of the Hub, in one commit: all of it is there or nothing.

Large files travel before the commit, and the Hub says which of them it has: a push that was stopped goes on where it
was. It sends what belongs to the bundle, and knows no more of the Hub than huggingface_hub's API.
"""

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..bundle.checkpoint_files import is_license
from ..bundle.copying import bundle_files
from ..bundle.manifest import CARD, MANIFEST, Bundle
from ..bundle.reading import read_bundle
from ..errors import EnvironmentMissing, IntegrityError, UsageError
from ..json_files import read_object
from .answers import explained
from .card import PLACE, card_text
from .own_paths import own_paths, require_no_paths

MAIN = "main"
_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_ATTRIBUTES = ".gitattributes"


@dataclass(frozen=True)
class Pushed:
    """What was sent, or would be: `files` maps each file to its size, `removed` are those of an earlier bundle.

    `url` is that of the commit, None where nothing was sent.
    """

    repository: str
    revision: str
    public: bool
    files: Mapping[str, int]
    removed: tuple[str, ...] = ()
    url: str | None = None


def push_bundle(
    folder: str | Path,
    repository: str,
    *,
    public: bool = False,
    revision: str | None = None,
    message: str | None = None,
    token: str | bool | None = None,
    dry_run: bool = False,
    progress: bool = False,
) -> Pushed:
    """Upload a bundle to a repository of the Hub, `owner/name`, which is made if it is not there.

    Parameters
    ----------
    folder
        The bundle. If it has no model card, one is sent that says what the bundle knows.
    public
        Whether a new repository is public (default: private). An existing one must be what this says.
    revision, message
        The branch, made if it is not there (default: main), and the message of the commit.
    token
        An access token of the Hub (default: the one that is logged in).
    dry_run
        Check everything that needs no connection and send nothing.
    progress
        Show progress bars on stderr.

    Raises
    ------
    UsageError
        Not a bundle, not a name, not logged in, no write access, a repository that is something else, or a file that
        contains a path of this machine.
    IntegrityError
        A file was changed, is missing or is a link.
    EnvironmentMissing
        The Hub is unreachable or failed.

    """
    if not _NAME.fullmatch(repository):
        raise UsageError(f"'{repository}' is not a repository's name: expected OWNER/NAME")
    with explained(repository):
        from huggingface_hub.utils import validate_repo_id

        validate_repo_id(repository)
    bundle = read_bundle(folder)
    if not bundle.is_verified:
        raise UsageError(f"'{folder}' is an ONNX folder, not a bundle: export its checkpoint, or use hf upload")
    contents = _contents(bundle, repository)
    require_no_paths(contents, own_paths(Path(folder)))
    sizes = {name: len(item) if isinstance(item, bytes) else item.stat().st_size for name, item in contents.items()}
    pushed = Pushed(repository, revision or MAIN, public, sizes)
    if dry_run:
        return pushed
    with explained(repository), _bars(shown=progress):
        return _send(pushed, contents, message or f"{bundle.source.id}, compiled by vitrify", token)


def _contents(bundle: Bundle, repository: str) -> dict[str, Path | bytes]:
    """Return what is sent, by name: files, and the card, which names the repository."""
    names = bundle_files(bundle)
    files: dict[str, Path | bytes] = {name: bundle.path(name) for name in names}
    try:
        card = bundle.path(CARD).read_text(encoding="utf-8") if CARD in names else card_text(bundle)
    except UnicodeDecodeError as error:
        raise UsageError(f"'{bundle.folder / CARD}' is not UTF-8: save it as UTF-8") from error
    return dict(sorted({**files, CARD: card.replace(PLACE, repository).encode()}.items()))


def _send(pushed: Pushed, contents: Mapping[str, Path | bytes], message: str, token: str | bool | None) -> Pushed:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise EnvironmentMissing("HF_HUB_OFFLINE is set: unset it to push")
    if not isinstance(token, str) and get_token() is None:
        raise UsageError("not logged in to the Hub: run hf auth login, or set HF_TOKEN")
    api = HfApi(token=token)
    there = _opened(api, pushed)
    _require_room(pushed.repository, there)
    stale = sorted(_listed(api, pushed) & there - contents.keys()) if MANIFEST in there else []
    operations = [
        *(CommitOperationDelete(name) for name in stale),
        *(CommitOperationAdd(name, content) for name, content in contents.items()),
    ]
    done = api.create_commit(pushed.repository, operations, commit_message=message, revision=pushed.revision)
    return replace(pushed, removed=tuple(stale), url=str(done.commit_url))


def _opened(api: Any, pushed: Pushed) -> set[str]:
    """Return the files of the repository's branch, after making either where it is missing."""
    from huggingface_hub import errors

    try:
        info = api.model_info(pushed.repository)
    except errors.RepositoryNotFoundError:
        api.create_repo(pushed.repository, private=not pushed.public)
        info = api.model_info(pushed.repository)
    _require_same_visibility(pushed, is_public=info.private is False)
    if pushed.revision != MAIN:
        api.create_branch(pushed.repository, branch=pushed.revision, exist_ok=True)
        info = api.model_info(pushed.repository, revision=pushed.revision)
    return {str(item.rfilename) for item in info.siblings or ()}


def _require_same_visibility(pushed: Pushed, *, is_public: bool) -> None:
    """Raise UsageError where a repository is public and that was not asked for, or the other way round."""
    if is_public and not pushed.public:
        raise UsageError(f"'{pushed.repository}' is public: pass --public to push to it, or choose another name")
    if pushed.public and not is_public:
        raise UsageError(f"'{pushed.repository}' is private: change that in its settings, or leave --public out")


def _require_room(repository: str, there: Collection[str]) -> None:
    """Raise UsageError for a repository that contains something else than a bundle."""
    others = sorted(name for name in there if name not in {CARD, _ATTRIBUTES} and not is_license(name))
    if others and MANIFEST not in there:
        raise UsageError(f"'{repository}' exists and is not a bundle (it contains {others[0]}): choose another name")


def _listed(api: Any, pushed: Pushed) -> set[str]:
    """Return the files that the bundle in the repository lists; none where its manifest cannot be read."""
    path = api.hf_hub_download(pushed.repository, MANIFEST, revision=pushed.revision)
    try:
        return set(read_object(Path(path)).get("files") or ())
    except (IntegrityError, TypeError):
        return set()


@contextlib.contextmanager
def _bars(*, shown: bool) -> Iterator[None]:
    """Let huggingface_hub show its progress bars, or not, meanwhile."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    silenced = not shown and not are_progress_bars_disabled()
    if silenced:
        disable_progress_bars()
    try:
        yield
    finally:
        if silenced:
            enable_progress_bars()
