"""What a checkpoint's generation_config.json says, field by field; it knows no call."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

from ..bundle.manifest import Bundle
from ..errors import IntegrityError, UsageError
from ..json_files import read_fields, read_object
from .config import GenerationConfig
from .settings import checkpoint_settings

FILE = "generation_config.json"


class WhisperFields(TypedDict, total=False):
    """What only speech recognition with Whisper reads."""

    no_timestamps_token_id: int
    prev_sot_token_id: int
    lang_to_id: Mapping[str, int]
    task_to_id: Mapping[str, int]
    is_multilingual: bool
    forced_decoder_ids: Sequence[tuple[int, int | None]]
    return_timestamps: bool | str
    max_initial_timestamp_index: int
    alignment_heads: Sequence[Sequence[int]]
    compression_ratio_threshold: float
    logprob_threshold: float
    no_speech_threshold: float
    condition_on_prev_tokens: bool


_FIELDS = {**get_type_hints(GenerationConfig), **get_type_hints(WhisperFields)}


def bundle_entries(bundle: Bundle, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a bundle says of generation: its generation_config.json, or else its `config`."""
    saved = read_object(bundle.check(FILE)) if FILE in bundle.files else None
    where = "config.json" if saved is None else FILE
    return checked_entries(checkpoint_settings(config, saved), bundle.folder / where)


def read_generation_config(path: Path) -> Mapping[str, Any]:
    """Return a generation_config.json; fields that are null are left out. Raises IntegrityError where it is broken."""
    return checked_entries(read_object(path), path)


def checked_entries(
    entries: Mapping[str, Any], where: Path | str, *, advice: str = "export or copy it again"
) -> Mapping[str, Any]:
    """Return what a file says of generation; raise IntegrityError for a value that no call could have."""
    fields = read_fields(_FIELDS, entries, where, advice=advice)
    try:
        GenerationConfig.from_mapping(fields)
    except UsageError as error:
        raise IntegrityError(f"'{where}' is broken: {error}: {advice}") from error
    return fields
