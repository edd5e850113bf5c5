"""The oracle: what the unpatched PyTorch model answers. It never sees the exported graph."""

import torch

from ...runtime.numerics import Arrays
from ...runtime.verification.parity import Case
from ..checkpoint.opened import Checkpoint
from .forgetful import Forgetful


class ForwardOracle:
    """The outputs of one forward call."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.model = Forgetful(checkpoint.traced)

    def outputs(self, inputs: Arrays) -> Arrays:
        """Return the model's kept outputs, float32; raise whatever the model raises."""
        made = self.model(**{name: torch.from_numpy(value) for name, value in inputs.items()})
        found = {name: getattr(made, name, None) for name in self.checkpoint.outputs}
        return {name: value.float().numpy() for name, value in found.items() if value is not None}

    def case(self, name: str, inputs: Arrays) -> Case:
        """Return the inputs as a case, with the reference outputs."""
        return Case(name, inputs, self.outputs(inputs))

    def accepts(self, inputs: Arrays) -> bool:
        """Tell whether the model itself takes these inputs."""
        try:
            self.outputs(inputs)
        except Exception:  # noqa: BLE001 - a model that refuses raises what its code raises
            return False
        return True
