"""Weights that a checkpoint lacks: which of its model's outputs would be random; it knows no architecture.

What the model reads on its way to an output is asked of the model: it runs with the missing weights changed in two
ways, a little, and an output that reads one differs. Counters, position ids and poolers that no output reads thus
refuse no checkpoint.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch

from ...runtime.errors import UsageError
from ..checkpoint.opened import Checkpoint
from ..quiet import quiet
from .plan import Oracle, Plan


class Family(Protocol):
    """What knows how to ask a checkpoint's model."""

    def oracle(self, checkpoint: Checkpoint) -> Oracle:
        """Return the reference for this checkpoint."""
        ...

    def plans(self, checkpoint: Checkpoint, oracle: Any) -> Iterator[Plan]:
        """Yield the plans for this checkpoint."""
        ...


def with_trained_outputs(checkpoint: Checkpoint, family: Family) -> Checkpoint:
    """Return the checkpoint with the outputs that its weights can give.

    Raises UsageError where they cannot give one that its head needs.
    """
    if not checkpoint.missing:
        return checkpoint
    random = _random_outputs(checkpoint, family)
    if not random.isdisjoint(checkpoint.head.outputs):
        raise UsageError(
            f"the checkpoint '{checkpoint.folder}' lacks weights for {type(checkpoint.model).__name__} "
            f"({', '.join(checkpoint.missing[:3])}): they would be random. "
            "Choose a task that the checkpoint was trained for"
        )
    return replace(checkpoint, outputs=tuple(name for name in checkpoint.outputs if name not in random))


def _random_outputs(checkpoint: Checkpoint, family: Family) -> set[str]:
    """Return the names of the outputs that read a missing weight."""
    name, inputs = next(family.plans(checkpoint, family.oracle(checkpoint))).grid[0]
    made = []
    for seed in range(2):
        with _changed(checkpoint.model, checkpoint.missing, seed), quiet():
            # An oracle of its own, which takes the model as it is now for what it was loaded as.
            made.append(family.oracle(checkpoint).case(name, inputs).expected)
    return {output for output, values in made[0].items() if not np.array_equal(values, made[1][output])}


@contextlib.contextmanager
def _changed(model: Any, names: Sequence[str], seed: int) -> Iterator[None]:
    """Change these weights a little for a while; whole numbers stay, because none are random."""
    tensors = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    found = [tensors[name].data for name in names if name in tensors and tensors[name].is_floating_point()]
    kept = [tensor.clone() for tensor in found]
    random = torch.Generator().manual_seed(seed)
    try:
        with torch.no_grad():
            for tensor in found:  # by little: activations that are all cut off would hide what reads them
                tensor.add_(0.01 * torch.randn(tensor.shape, generator=random, dtype=tensor.dtype))
        yield
    finally:
        with torch.no_grad():
            for tensor, values in zip(found, kept, strict=True):
                tensor.copy_(values)
