"""What config.json and a graph's own inputs say of an ONNX folder's model: its head, its tasks, its axes' names.

An axis is known by its tensor and its place, since every exporter names axes otherwise. It opens no file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from ..errors import UnsupportedError, UsageError
from ..graphs.families import FAMILIES
from ..graphs.heads import HEADS, Head
from ..graphs.signature import (
    BRANCH,
    CROSS,
    INPUT_AXES,
    KEEP,
    KINDS,
    LOGITS,
    MASK,
    POSITIONS,
    PRESENT,
    STATES,
    STATES_MASK,
    TOKENS,
    Axis,
    Graph,
    Tensor,
    is_limit,
    is_state,
    kinds_of,
    states_of,
)
from ..json_files import brief


@dataclass(frozen=True)
class Told:
    """What tells a head: how its classes' names end and, where several share an ending, the kind of input."""

    endings: tuple[str, ...]
    kind: str | None = None


_GENERATORS = ("ForConditionalGeneration", "MTModel", "EncoderDecoderModel", "ForSpeechSeq2Seq")
# By the names of `HEADS`; the first whose ending fits counts.
TOLD: Mapping[str, Told] = MappingProxyType(
    {
        "sequence-classification": Told(("ForSequenceClassification",)),
        "token-classification": Told(("ForTokenClassification",)),
        "question-answering": Told(("ForQuestionAnswering",)),
        "masked-lm": Told(("ForMaskedLM", "WithLMHeadModel")),
        "image-classification": Told(("ForImageClassification", "ForImageClassificationWithTeacher")),
        "ctc": Told(("ForCTC",)),
        "causal-lm": Told(("ForCausalLM", "LMHeadModel")),
        "speech-seq2seq": Told(_GENERATORS, "audio"),
        "image-to-text": Told(_GENERATORS, "image"),
        "seq2seq-lm": Told(_GENERATORS, "text"),
        "embedding": Told(("Model",)),
        "base": Told(("Model",)),
    }
)
# The first name that config.json has is the longest row.
_LONGEST = ("max_target_positions", "max_decoder_position_embeddings", "max_position_embeddings", "n_positions")
# What the token loop can give a decoder.
_FED = frozenset({TOKENS, MASK, POSITIONS, STATES, STATES_MASK, BRANCH, KEEP})


def heads_of(architectures: Any, where: str) -> list[Head]:
    """Return the heads that a class may have.

    Raises
    ------
    UsageError
        config.json names no class.
    UnsupportedError
        Its class has a head that vitrify does not run.

    """
    names = architectures if isinstance(architectures, list) else []
    if not names or not isinstance(names[0], str):
        raise UsageError(
            f"config.json of '{where}' names no architecture, so the task of its graphs is unknown: add it, such as "
            '"architectures": ["BertForSequenceClassification"]'
        )
    found = [HEADS[name] for name, told in TOLD.items() if names[0].endswith(told.endings)]
    if not found:
        endings = ", ".join(dict.fromkeys(ending for told in TOLD.values() for ending in told.endings))
        raise UnsupportedError(f"'{where}' is a {brief(names[0])}, whose head is not supported (supported: {endings})")
    return [head for head in found if head.family == found[0].family]


def choose_head(heads: Sequence[Head], graphs: Mapping[str, Graph], where: str) -> tuple[Head, tuple[str, ...]]:
    """Return the head that these graphs have, and what they read: "text", "image" or "audio".

    A graph of a class with a head may have been exported without it: what it gives decides.
    """
    own = FAMILIES[heads[0].family]
    first = next(iter(graphs.values()))
    inputs = {tensor.name for graph in ([first] if own.generates else graphs.values()) for tensor in graph.inputs}
    given = {tensor.name for graph in graphs.values() for tensor in graph.outputs}
    read = kinds_of(name for name in KINDS if name in inputs)
    for head in [*heads, *([] if own.generates else [HEADS["embedding"], HEADS["base"]])]:
        kinds = head.reads or read[:1]
        if kinds and set(head.outputs) <= given and TOLD[head.name].kind in {None, *kinds}:
            return head, kinds
    raise UnsupportedError(
        f"the graphs of '{where}' read {', '.join(sorted(inputs))} and output {', '.join(sorted(given)[:5])}; with the "
        f"head {heads[0].name} vitrify runs those that output {', '.join(heads[0].outputs)}. Compile its checkpoint: "
        "vitrify export MODEL"
    )


def axes_of(head: Head, config: Mapping[str, Any]) -> dict[str, Axis]:
    """Return the named axes of a model with this head, with the limits that config.json knows."""
    found = {"batch": Axis(), "sequence": Axis()}
    if not FAMILIES[head.family].generates:
        return found
    nested = (config.get("decoder"), config.get("text_config"), config)
    limits = [
        part[name] for name in _LONGEST for part in nested if isinstance(part, Mapping) and is_limit(part.get(name))
    ]
    return {**found, "past": Axis(0), "total": Axis(1, int(limits[0]) if limits else None)}


def named(graph: Graph, name: str, head: Head, config: Mapping[str, Any]) -> Graph:
    """Return a graph's signature with the runtime's names for its axes; what is not known keeps a name of its own.

    Half-precision numbers, other than a cache's, are float32 outside: the session converts them.
    """
    inputs, family = {tensor.name: tensor for tensor in graph.inputs}, FAMILIES[head.family]
    if family.generates and name != family.encoder:
        _check_decoder(inputs.values(), graph.outputs)
    spoken = "encoder_sequence" if name == family.encoder else "sequence"
    places: dict[str, tuple[str, ...]] = {**INPUT_AXES, MASK: ("batch", _second_axis(inputs, spoken))}
    if states_of(graph.inputs):
        places[MASK] = ("batch", "total")
    places[TOKENS] = ("batch", spoken)
    own = inputs[TOKENS].axes[1:2] if TOKENS in inputs else ()
    return Graph(
        tuple(_named(tensor, places.get(tensor.name, _state_places(tensor.name))) for tensor in graph.inputs),
        tuple(_named(tensor, _output_places(tensor, own, head, name, config)) for tensor in graph.outputs),
    )


def _second_axis(inputs: Iterable[str], otherwise: str) -> str:
    """Return what a mask is over: samples of sound, or else tokens."""
    return "samples" if "input_values" in set(inputs) else otherwise


def _state_places(name: str) -> tuple[str, ...]:
    """Return the axes of a state [batch, heads, tokens, size], by the name of the input."""
    if not is_state(name):
        return ("batch",)
    return ("batch", "heads", "encoder_sequence" if CROSS in name else "past", "size")


def _output_places(
    tensor: Tensor, tokens: Sequence[int | str], head: Head, graph: str, config: Mapping[str, Any]
) -> tuple[str | int, ...]:
    """Return the axes of an output; one whose second axis has the name of the tokens' has a row a token."""
    family = FAMILIES[head.family]
    if graph == family.encoder:
        return ("batch", "encoder_sequence")
    if tensor.name == LOGITS and family.generates:
        return ("batch", "sequence", _vocabulary(tensor, config))
    is_by_token = tensor.name in head.by_token and bool(tokens)
    return INPUT_AXES[TOKENS] if is_by_token or (tokens and tensor.axes[1:2] == tokens) else ("batch",)


def _vocabulary(tensor: Tensor, config: Mapping[str, Any]) -> str | int:
    """Return how many logits a token has: as the graph says, else config.json."""
    if tensor.axes and isinstance(tensor.axes[-1], int):
        return tensor.axes[-1]
    nested = (config.get("decoder"), config.get("text_config"), config)
    sizes = [part["vocab_size"] for part in nested if isinstance(part, Mapping) and part.get("vocab_size")]
    if not sizes:
        raise UnsupportedError('neither the graph nor config.json says how many tokens there are: add "vocab_size"')
    return int(sizes[0])


def _named(tensor: Tensor, places: Sequence[str | int]) -> Tensor:
    given = tensor.axes or places  # an output whose rank the graph does not say
    wished = [*places, *(f"{tensor.name}.{index}" for index in range(len(places), len(given)))]
    axes = tuple(
        place if isinstance(place, int) or not isinstance(axis, int) else axis
        for axis, place in zip(given, wished, strict=False)
    )
    dtype = "float32" if tensor.dtype == "float16" and not is_state(tensor.name) else tensor.dtype
    return replace(tensor, axes=axes, dtype=dtype)


def _check_decoder(inputs: Iterable[Tensor], outputs: Iterable[Tensor]) -> None:
    """Raise UnsupportedError for a decoder that the token loop cannot run."""
    for tensor in inputs:
        if is_state(tensor.name):
            if len(tensor.axes) != 4 or not all(isinstance(tensor.axes[place], int) for place in (1, 3)):
                raise UnsupportedError(
                    f"the decoder's cache '{tensor.name}' is {tensor}, and vitrify runs caches of [batch, heads, past, "
                    "size] with known heads and size. Compile its checkpoint: vitrify export MODEL"
                )
        elif tensor.name not in _FED:
            raise UnsupportedError(
                f"the decoder reads '{tensor.name}', for which there is nothing (there are {', '.join(sorted(_FED))}). "
                "Compile its checkpoint: vitrify export MODEL"
            )
    if not any(tensor.name.startswith(PRESENT) for tensor in outputs):
        raise UnsupportedError(
            "the decoder outputs no KV cache (present.*), so every token would recompute all before it. Export it with "
            "the task text-generation-with-past, or compile its checkpoint: vitrify export MODEL"
        )
