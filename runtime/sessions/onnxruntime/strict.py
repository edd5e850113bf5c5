"""A graph on one provider of ONNX Runtime, or an error that says what is missing; it knows no provider by name.

ONNX Runtime falls back by itself: a provider whose libraries do not load, and a node that it has no kernel for, go to
the CPU without an error. So what was asked for is compared with what ONNX Runtime says it did.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import EnvironmentMissing, UnsupportedError, UsageError
from ..meanings import Meanings
from ..opening import Opening
from .base import OPENING, OrtSession, session_options

_NAMED = 3  # nodes that an error names
# Operators that no shape arithmetic uses: where another provider runs one, computation left the one asked for.
_COMPUTING: Mapping[str, str] = {
    "products": "MatMul Gemm Einsum FusedMatMul FusedGemm MatMulNBits MatMulInteger QLinearMatMul",
    "convolutions": "Conv ConvTranspose ConvInteger QLinearConv FusedConv NhwcConv DeformConv",
    "attention": "Attention MultiHeadAttention GroupQueryAttention PackedAttention RotaryEmbedding Softmax LogSoftmax",
    "normalization": (
        "LayerNormalization SkipLayerNormalization EmbedLayerNormalization SimplifiedLayerNormalization "
        "SkipSimplifiedLayerNormalization RMSNormalization BatchNormalization InstanceNormalization GroupNormalization "
        "GroupNorm LpNormalization LRN"
    ),
    "activations": (
        "Gelu FastGelu BiasGelu QuickGelu Erf Tanh Sigmoid Relu LeakyRelu PRelu Elu Celu Selu ThresholdedRelu "
        "HardSigmoid HardSwish Swish Silu Mish Softplus Softsign"
    ),
    "pooling": "AveragePool MaxPool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool",
    "sampling": "Resize Upsample GridSample RoiAlign DepthToSpace SpaceToDepth",
    "sequences": "LSTM GRU RNN STFT DFT MelWeightMatrix",
    "statistics": "ReduceMean ReduceL1 ReduceL2 ReduceLogSumExp ReduceSumSquare",
    "quantization": "DynamicQuantizeMatMul DynamicQuantizeLinear QuantizeLinear DequantizeLinear",
}
COMPUTING = frozenset(name for names in _COMPUTING.values() for name in names.split())


class StrictSession(OrtSession):
    """A graph that `provider` computes; the CPU does its shape arithmetic at most."""

    def __init__(
        self,
        path: Path,
        *,
        provider: str,
        options: Any,
        remedy: str,
        ort: Any,
        provider_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Open the graph.

        Parameters
        ----------
        path
            The graph.
        provider, options
            The provider by ONNX Runtime's name, and what `strict_options` made.
        remedy
            What to do where the provider does not load.
        ort
            ONNX Runtime's module.
        provider_options
            What the provider is given; None where `options` already names its device.

        Raises
        ------
        EnvironmentMissing
            The provider does not load, or leaves computation to another.

        """
        providers = () if provider_options is None else ((provider, option_texts(provider_options)),)
        super().__init__(path, options=options, providers=providers, meanings=_meanings(remedy), ort=ort)
        if self.providers[:1] != (provider,):
            raise EnvironmentMissing(
                f"graph '{self.graph}': asked for {provider}, ONNX Runtime opened {', '.join(self.providers)}, and "
                f"nothing falls back. {remedy}"
            )
        self.providers = _providers(self._session, provider, graph=self.graph)


def strict_options(opening: Opening, *, ort: Any) -> Any:
    """Return SessionOptions that record which provider each node goes to."""
    return session_options(replace(opening, record=True), ort=ort)


def option_texts(options: Mapping[str, Any]) -> dict[str, str]:
    """Return a provider's options as the texts that it parses."""
    return {key: str(int(value)) if isinstance(value, bool) else str(value) for key, value in options.items()}


def _meanings(remedy: str) -> Meanings:
    return (
        ("please install", EnvironmentMissing, f"the provider's libraries do not load. {remedy}"),
        ("unknown provider option", UsageError, "the profile gives the provider an option that it does not know"),
        ("tensorrt ep", UnsupportedError, "TensorRT cannot build an engine of it"),
        ("tensorrtrtx ep", UnsupportedError, "TensorRT-RTX cannot build an engine of it"),
        *OPENING,
    )


def _providers(session: Any, asked: str, *, graph: str) -> tuple[str, ...]:
    """Return the providers that run nodes, the one asked for first; raise EnvironmentMissing if others compute."""
    parts = session.get_provider_graph_assignment_info()
    assigned = [(part.ep_name, node) for part in parts for node in part.get_nodes()]
    used = tuple(dict.fromkeys(name for name, _ in assigned))
    if asked not in used:
        raise EnvironmentMissing(
            f"graph '{graph}': no node of it runs on {asked} ({', '.join(used) or 'nothing'} took them), and nothing "
            "falls back"
        )
    left = [(name, node) for name, node in assigned if name != asked and node.op_type in COMPUTING]
    if left:
        raise EnvironmentMissing(
            f"graph '{graph}': {asked} cannot run {_listed(left)}, and nothing falls back; `pip install --upgrade` the "
            "provider"
        )
    return (asked, *(name for name in used if name != asked))


def _listed(left: Sequence[tuple[str, Any]]) -> str:
    named = [f"{node.op_type} '{node.name}' (would be on {name})" for name, node in left[:_NAMED]]
    more = [f"{len(left) - _NAMED} more"] if len(left) > _NAMED else []
    return ", ".join(named + more)
