"""Rows as one batch of a graph: filled up to one length on the way in, cut apart on the way out; it knows no task."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..numerics import Row
from .model import Model

if TYPE_CHECKING:
    from ..graphs.signature import Graph, Tensor
    from ..processing.text.tokenizer import Tokenizer


def batches(rows: Sequence[Row], graph: "Graph") -> Iterator[Sequence[int]]:
    """Yield which rows share a batch: those of one size in every axis but the padded one.

    A graph that has its batch fixed gets no more rows than that.
    """
    axes = {tensor.name: tensor.axes[1:] for tensor in graph.inputs}
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(_sizes(row, axes), []).append(index)
    fixed = graph.inputs[0].axes[0] if graph.inputs and graph.inputs[0].axes else None
    for group in groups.values():
        size = fixed if isinstance(fixed, int) else len(group)
        yield from (group[start : start + size] for start in range(0, len(group), size))


def _sizes(row: Row, axes: Mapping[str, Sequence[Any]]) -> tuple[Any, ...]:
    return tuple(
        (name, *(size for axis, size in zip(axes[name], row[name].shape, strict=False) if axis != "sequence"))
        for name in sorted(row)
        if name in axes
    )


def run_together(model: Model, rows: Sequence[Row], *, least: int, tokenizer: "Tokenizer | None") -> list[Row]:
    """Run rows (arrays without the batch axis) that differ only in their tokens; return each one's outputs, unpadded.

    They are views of the batch's arrays: whoever keeps one copies it, or keeps the batch. `least` is the smallest
    sequence that the graph takes. Raises UsageError where rows must be padded and the tokenizer has no pad token.
    """
    lengths = [len(row["input_ids"]) if "input_ids" in row else 0 for row in rows]
    length = max(*lengths, least) if any(lengths) else 0
    left = tokenizer is not None and tokenizer.padding_side == "left"
    feeds = {}
    for name in model.input_names:
        if name in rows[0]:
            values = [row[name] for row in rows]
            padded = any(len(value) < length for value in values)
            fill = _pad_token(tokenizer) if padded and name == "input_ids" else 0
            feeds[name] = _filled(values, length, fill=fill, left=left) if padded else np.stack(values)
    spans = [slice(length - size, None) if left else slice(0, size) for size in lengths]
    return _apart(model(**feeds), model.session.outputs, spans)


def _filled(values: Sequence[np.ndarray], length: int, *, fill: int, left: bool) -> np.ndarray:
    """Return arrays [tokens, ...] as one, [rows, length, ...], with `fill` where there is nothing."""
    # One array for all of them: np.pad for each row takes ten times as long.
    filled = np.full((len(values), length, *values[0].shape[1:]), fill, values[0].dtype)
    for row, value in zip(filled, values, strict=True):
        row[slice(length - len(value), None) if left else slice(len(value))] = value
    return filled


def _apart(outputs: Row, tensors: "Sequence[Tensor]", spans: Sequence[slice]) -> list[Row]:
    """Return the outputs of each row, of which `spans` says where its tokens are."""
    rows: list[Row] = [{} for _ in spans]
    for tensor in tensors:
        cut: tuple[Any, ...] | None = None
        if "sequence" in tensor.axes:
            cut = (slice(None),) * (tensor.axes.index("sequence") - 1)
        for row, values, span in zip(rows, outputs[tensor.name], spans, strict=True):
            row[tensor.name] = values if cut is None else values[(*cut, span)]
    return rows


def _pad_token(tokenizer: "Tokenizer | None") -> int:
    assert tokenizer is not None
    if tokenizer.pad_token_id is None:
        raise UsageError(
            "the tokenizer has no pad token, so texts of different lengths cannot share a batch. "
            "Use batch_size=1, or set pipe.tokenizer.pad_token_id"
        )
    return tokenizer.pad_token_id
