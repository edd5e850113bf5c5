"""The table of TensorRTs: what builds engines and what runs them, a row each; it opens nothing.

The exporter adds to a row, under the same name, for which GPUs it builds.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Capabilities(NamedTuple):
    """Compute capabilities of GPUs: the ones named, such as "89", and every one from `newest` on."""

    named: frozenset[str]
    newest: int

    def has(self, capability: str) -> bool:
        """Tell whether a GPU of this compute capability is among them."""
        return capability in self.named or (capability.isdigit() and int(capability) >= self.newest)


class Builder(NamedTuple):
    """A TensorRT.

    Attributes
    ----------
    module, extra
        The module in Python, and the extra of vitrify that installs it.
    distributions
        The packages, one of which says the version.
    compiles
        Whether it compiles when it loads an engine.
    portable
        The GPUs that run its portable engines; None where it builds none.
    plugin
        The GPUs that ONNX Runtime's plugin of it takes; None where there is no plugin.

    """

    module: str
    extra: str
    distributions: tuple[str, ...]
    compiles: bool
    portable: Capabilities | None = None
    plugin: Capabilities | None = None


BUILDERS: Mapping[str, Builder] = MappingProxyType(
    {
        "tensorrt-rtx": Builder(
            "tensorrt_rtx",
            "rtx",
            ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12", "tensorrt-rtx"),
            compiles=True,
            portable=Capabilities(frozenset({"80", "86", "89"}), 120),
            plugin=Capabilities(frozenset({"86", "89"}), 120),  # TensorRT-RTX takes an A100, the plugin does not
        ),
        "tensorrt": Builder("tensorrt", "tensorrt", ("tensorrt-cu13", "tensorrt-cu12", "tensorrt"), compiles=False),
    }
)


def runs_portable(builder: str, capability: str) -> bool:
    """Tell whether a GPU of this compute capability runs the portable engines of a builder."""
    row = BUILDERS.get(builder)
    return row is not None and row.portable is not None and row.portable.has(capability)
