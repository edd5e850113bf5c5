"""What the runtime reads of a checkpoint's config.json, field by field; the others belong to other programs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from ..errors import IntegrityError
from ..json_files import brief, read_fields, read_object

Tokens = int | Sequence[int]


class Part(TypedDict, total=False):
    """What a model says of itself, or of one of its halves."""

    model_type: str
    vocab_size: int
    max_target_positions: int
    max_decoder_position_embeddings: int
    max_position_embeddings: int
    n_positions: int
    bos_token_id: Tokens
    eos_token_id: Tokens
    pad_token_id: int
    decoder_start_token_id: Tokens
    forced_bos_token_id: int
    forced_eos_token_id: Tokens


class CheckpointConfig(Part, total=False):
    """What a checkpoint says of its head, its tasks and its halves."""

    architectures: Sequence[str]
    id2label: Mapping[str, str | int | float]
    label2id: Mapping[str, int | str | float]
    problem_type: str
    function_to_apply: str
    prefix: str
    task_specific_params: Mapping[str, Mapping[str, Any] | None]
    decoder: Part
    encoder: Part
    text_config: Part
    src_vocab_size: int
    conv_stride: Sequence[int]
    max_source_positions: int
    median_filter_width: int
    forced_decoder_ids: Sequence[tuple[int, int | None]]


def read_config(path: Path, *, advice: str = "export or copy it again") -> dict[str, Any]:
    """Return a config.json, with `id2label` keyed by int; fields that are null are left out.

    Raises IntegrityError where it is missing or broken.
    """
    try:
        content = read_object(path, advice=advice)
    except FileNotFoundError as error:
        raise IntegrityError(f"'{path}' is missing: {advice}") from error
    config = read_fields(CheckpointConfig, content, path, advice=advice)
    try:
        labels = {int(index): label for index, label in config.get("id2label", {}).items()}
    except ValueError as error:
        raise IntegrityError(
            f"'{path}' is broken: id2label is {brief(config['id2label'])}, expected whole numbers as keys: {advice}"
        ) from error
    return {**config, "id2label": labels}
