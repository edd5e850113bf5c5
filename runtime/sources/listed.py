"""What a repository contains, as the Hub's API answers; it downloads no file."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict
from urllib.parse import quote

from ..json_files import LARGEST, read_fields
from .answers import read_answer


class _Large(TypedDict):
    sha256: NotRequired[str]
    size: NotRequired[int]


class _Row(TypedDict):
    rfilename: str
    size: NotRequired[int]
    blobId: NotRequired[str]
    lfs: NotRequired[_Large]


class _Answer(TypedDict):
    sha: str
    siblings: NotRequired[Sequence[_Row]]


def list_repository(model: str, revision: str | None, token: Any) -> tuple[str, Mapping[str, Any]]:
    """Return the commit that a revision stands for, and a row for each of its files.

    Raises IntegrityError for an answer of other types, ValueError for one that is not JSON.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers

    at = "" if revision is None else f"/revision/{quote(revision, safe='')}"
    url = f"{constants.ENDPOINT}/api/models/{model}{at}?blobs=true"
    content = json.loads(read_answer(url, largest=LARGEST, headers=build_hf_headers(token=token)))
    advice = "check HF_ENDPOINT, or a proxy in between"
    answer = read_fields(_Answer, content, f"the Hub's answer for {model}", advice=advice)
    return answer["sha"], {row["rfilename"]: row for row in answer.get("siblings", ())}
