"""No file that leaves this machine names its folders: which those are, and the search for them."""

import json
import mmap
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..bundle.digests import cache_folder
from ..errors import UsageError

_SHORT = 2  # parts of a path; one such as /data may be a word of any vocabulary
_BEFORE, _AFTER, _BELOW = re.compile(rb"[\w.~-]"), re.compile(rb"[\w-]"), re.compile(rb"[/\\]+\w")
_SHOWN = 200  # characters


def own_paths(folder: Path) -> list[Path]:
    """Return this machine's own folders: the user's, the cache, where the bundle is and what that stands in."""
    home = Path.home()
    given = [folder.absolute(), folder.resolve(), folder.absolute().parent, Path.cwd(), cache_folder().absolute()]
    return sorted({path for path in given if len(path.parts) > _SHORT} | ({home} if home.name else set()))


def require_no_paths(files: Mapping[str, Path | bytes], paths: Iterable[Path]) -> None:
    """Raise UsageError naming the first file that contains one of the paths."""
    forms = {form: len(path.parts) > _SHORT for path in paths for form in (str(path), json.dumps(str(path))[1:-1])}
    for name, content in files.items():
        for form, stands_alone in forms.items():
            if _contains(content, form.encode(), stands_alone=stands_alone):
                raise UsageError(
                    f"'{name}' contains a path of this machine ('{form:.{_SHOWN}}'), which would be published: remove "
                    "it from the model card, or from the checkpoint and export again"
                )


def _contains(content: Path | bytes, path: bytes, *, stands_alone: bool) -> bool:
    if isinstance(content, bytes):
        return _names(content, path, stands_alone=stands_alone)
    if not content.stat().st_size:
        return False
    with content.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return _names(mapped, path, stands_alone=stands_alone)


def _names(content: "bytes | mmap.mmap", path: bytes, *, stands_alone: bool) -> bool:
    """Tell whether the path is there as a path: with something below it or, if it `stands_alone`, by itself."""
    place = content.find(path)
    while place >= 0:
        end = place + len(path)
        before, after = content[max(place - 1, 0) : place], content[end : end + 3]
        if not _BEFORE.match(before) and (_BELOW.match(after) or (stands_alone and not _AFTER.match(after))):
            return True
        place = content.find(path, place + 1)
    return False
