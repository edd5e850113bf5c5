"""The front matter of a bundle's model card: what the Hub reads of it. It knows no text of the card.

What the checkpoint's own card says of the license, the languages and the data is taken over; the rest is the bundle's.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..bundle.checkpoint_files import is_license
from ..bundle.manifest import SOURCE_CARD, Bundle
from ..errors import VitrifyError
from ..tasks import Task, find_task
from .portable import portable_task

LIBRARY = "vitrify"
_KEPT = ("license", "license_name", "license_link", "language", "datasets")
# Tags of files and libraries that the bundle has nothing of.
_NOT_OURS = {"pytorch", "tf", "tensorflow", "jax", "flax", "rust", "safetensors", "gguf", "coreml", "transformers"}
_BYTES = 2**16  # of a card, whose front matter stands first
_MANY, _LONG = 500, 500  # texts of a list, characters of one


def front_matter(bundle: Bundle) -> str:
    """Return the YAML at the head of the card."""
    from huggingface_hub import ModelCardData

    given = source_metadata(bundle)
    data = ModelCardData(
        library_name=LIBRARY,
        pipeline_tag=_tag(shown_task(bundle, given), given.get("pipeline_tag")),
        tags=_tags(bundle, given),
        **{key: given[key] for key in _KEPT if key in given},
        **_base(bundle, given),
    )
    return data.to_yaml()


def source_metadata(bundle: Bundle) -> dict[str, Any]:
    """Return the front matter of the checkpoint's own card: texts, and lists of texts; empty where it has none."""
    import yaml
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    try:
        with bundle.path(SOURCE_CARD).open("rb") as file:
            found = REGEX_YAML_BLOCK.search(file.read(_BYTES).decode("utf-8", errors="replace"))
        content = yaml.safe_load(found.group(2)) if found else {}
    except (VitrifyError, OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    given = {key: _texts(value, key) for key, value in content.items()} if isinstance(content, dict) else {}
    if not _leads_somewhere(given.get("license_link"), bundle.folder):
        given.pop("license_link", None)
    return {key: value for key, value in given.items() if value}


def shown_task(bundle: Bundle, given: Mapping[str, Any]) -> Task | None:
    """Return the task that the card shows: what the checkpoint's names if the bundle serves it, or its first."""
    own = _task(given.get("pipeline_tag"))
    return own if own is not None and own.name in bundle.tasks else next(map(find_task, bundle.tasks), None)


def _tag(task: Task | None, own: Any) -> str | None:
    """Return the Hub's word for a task: the checkpoint's own where it means that; None for a bundle without tasks."""
    if task is None or _task(own) == task:
        return own
    return task.tag or task.name


def _task(tag: Any) -> Task | None:
    try:
        return find_task(tag) if isinstance(tag, str) else None
    except VitrifyError:
        return None


def _texts(value: Any, key: Any) -> str | list[str] | None:
    """Return a text or a list of texts; YAML reads the language `no` as false."""
    if value is False and key == "language":
        return "no"
    if isinstance(value, list):
        return [text for item in value[:_MANY] if isinstance(text := _texts(item, key), str)]
    return value.strip() if isinstance(value, str) and len(value) <= _LONG else None


def _leads_somewhere(link: Any, folder: Path) -> bool:
    """Tell whether the link to a license is an address, or a file that the bundle keeps."""
    if not isinstance(link, str):
        return False
    return link.startswith(("https://", "http://")) or (is_license(link) and (folder / link).is_file())


def _tags(bundle: Bundle, given: Mapping[str, Any]) -> list[str]:
    tags = given.get("tags") or []
    own = [tags] if isinstance(tags, str) else tags
    others = ("transformers.js",) if portable_task(bundle) else ()
    return list(dict.fromkeys(("onnx", *others, *(tag for tag in own if tag.lower() not in _NOT_OURS))))


def _base(bundle: Bundle, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the weights come from: a repository that was compiled, or what a local checkpoint says of itself."""
    if bundle.source.revision is not None:
        # Of the Hub's words for how a model follows from another, the one for the same weights in another format.
        return {"base_model": bundle.source.id, "base_model_relation": "quantized"}
    return {key: given[key] for key in ("base_model",) if key in given}
