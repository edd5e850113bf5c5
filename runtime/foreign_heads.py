"""What config.json and a graph's own inputs say of a model that others compiled: its head, its tasks, its axes' names.

An axis is known by its tensor and its place, since every exporter names axes otherwise. It opens no file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .bundle import Axis, Graph
from .errors import UnsupportedError, UsageError
from .generation.growing import BRANCH, CROSS, KEEP, PAST
from .kinds import PICTURES, SOUND, kind_of
from .pipelines import tasks_of
from .sessions.base import Tensor

_DECODERS = frozenset({"decoder", "encoder-decoder"})


@dataclass(frozen=True)
class Head:
    """A head as `pipelines` knows it: how its classes' names end, its family, what its graph must give.

    `by_token` says that these outputs have a row a token; `reads`, where several heads share an ending, the input that
    tells it from them.
    """

    name: str
    endings: tuple[str, ...]
    outputs: tuple[str, ...] = ("logits",)
    family: str = "encoder"
    by_token: bool = False
    reads: tuple[str, ...] = ()


_WRITERS = ("ForConditionalGeneration", "MTModel", "EncoderDecoderModel", "ForSpeechSeq2Seq")
# The first whose ending fits counts.
HEADS = (
    Head("sequence-classification", ("ForSequenceClassification",)),
    Head("token-classification", ("ForTokenClassification",), by_token=True),
    Head("question-answering", ("ForQuestionAnswering",), ("start_logits", "end_logits"), by_token=True),
    Head("masked-lm", ("ForMaskedLM", "WithLMHeadModel"), by_token=True),
    Head("image-classification", ("ForImageClassification", "ForImageClassificationWithTeacher")),
    Head("ctc", ("ForCTC",)),
    Head("causal-lm", ("ForCausalLM", "LMHeadModel"), family="decoder"),
    Head("speech-seq2seq", _WRITERS, family="encoder-decoder", reads=SOUND),
    Head("image-to-text", _WRITERS, family="encoder-decoder", reads=PICTURES),
    Head("seq2seq-lm", _WRITERS, family="encoder-decoder", reads=("input_ids",)),
    Head("base", ("Model",), ("last_hidden_state",), by_token=True),
)
_BASE = HEADS[-1]
# The first name that config.json has is the longest row.
_LONGEST = ("max_target_positions", "max_decoder_position_embeddings", "max_position_embeddings", "n_positions")


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
            f"config.json of '{where}' names no architecture, so nothing says what its graphs are for: add it, such as "
            '"architectures": ["BertForSequenceClassification"]'
        )
    found = [head for head in HEADS if names[0].endswith(head.endings)]
    if not found:
        endings = ", ".join(dict.fromkeys(ending for head in HEADS for ending in head.endings))
        raise UnsupportedError(f"'{where}' is a {names[0]}, whose head vitrify does not run (it runs: {endings})")
    return [head for head in found if head.family == found[0].family]


def choose_head(heads: Sequence[Head], graphs: Mapping[str, Graph], where: str) -> tuple[Head, str]:
    """Return the head that these graphs have, and what they read: "text", "image" or "audio".

    A graph of a class with a head may have been exported without it: what it gives decides.
    """
    first, last = next(iter(graphs.values())), list(graphs.values())[-1]
    inputs = {tensor.name for tensor in first.inputs}
    given = {tensor.name for tensor in last.outputs}
    kind = kind_of(inputs)
    candidates = [*heads, *([_BASE] if heads[0].family == "encoder" else [])]
    for head in candidates:
        if kind and set(head.outputs) <= given and (not head.reads or inputs & set(head.reads)):
            return head, kind
    raise UnsupportedError(
        f"the graphs of '{where}' read {', '.join(sorted(inputs))} and give {', '.join(sorted(given)[:5])}; with the "
        f"head {heads[0].name} vitrify runs those that give {', '.join(heads[0].outputs)}. Compile its checkpoint: "
        "vitrify export MODEL"
    )


def head_tasks(head: Head, kind: str) -> tuple[str, ...]:
    """Return the tasks that a head serves on what it reads."""
    return tasks_of(head.name, kind)


def axes_of(head: Head, config: Mapping[str, Any]) -> dict[str, Axis]:
    """Return the named axes of a model with this head, with the limits that config.json knows."""
    found = {"batch": Axis(), "sequence": Axis()}
    if head.family not in _DECODERS:
        return found
    nested = (config.get("decoder"), config.get("text_config"), config)
    limits = [part[name] for name in _LONGEST for part in nested if isinstance(part, Mapping) and part.get(name)]
    return {**found, "past": Axis(0), "total": Axis(1, int(limits[0]) if limits else None)}


def named(graph: Graph, name: str, head: Head, config: Mapping[str, Any]) -> Graph:
    """Return a graph's signature with the runtime's names for its axes; what is not known keeps a name of its own.

    Half-precision numbers, other than a cache's, are float32 outside: the session converts them.
    """
    inputs = {tensor.name: tensor for tensor in graph.inputs}
    if head.family in _DECODERS and name != "encoder_model":
        _check_decoder(inputs.values(), graph.outputs)
    spoken = "encoder_sequence" if name == "encoder_model" else "sequence"
    tokens = _second_axis(inputs)
    places = {**_PLACES, "attention_mask": ("batch", tokens if tokens == "samples" else spoken)}
    if any(each.startswith(PAST) for each in inputs):
        places["attention_mask"] = ("batch", "total")
    if spoken != "sequence":
        places["input_ids"] = ("batch", spoken)
    own = inputs["input_ids"].axes[1:2] if "input_ids" in inputs else ()
    return Graph(
        tuple(_named(tensor, places.get(tensor.name, _cache_places(tensor.name))) for tensor in graph.inputs),
        tuple(_named(tensor, _output_places(tensor, own, head, name, config)) for tensor in graph.outputs),
    )


_TOKENS = ("batch", "sequence")
_PLACES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("input_ids", "token_type_ids", "position_ids", "decoder_input_ids"), _TOKENS),
    "pixel_values": ("batch", "channels", "height", "width"),
    "flattened_patches": ("batch", "patches"),
    "input_values": ("batch", "samples"),
    "input_features": ("batch", "bins", "frames"),
    "encoder_hidden_states": ("batch", "encoder_sequence"),
    "encoder_attention_mask": ("batch", "encoder_sequence"),
    KEEP: (),
}
# What the token loop can give a decoder.
_FED = frozenset(
    {"input_ids", "attention_mask", "position_ids", "encoder_hidden_states", "encoder_attention_mask", BRANCH, KEEP}
)


def _second_axis(inputs: Iterable[str]) -> str:
    return "samples" if "input_values" in set(inputs) else "sequence"


def _cache_places(name: str) -> tuple[str, ...]:
    """Return the axes of keys or values [batch, heads, tokens, size], by the name of the input."""
    if not name.startswith(PAST):
        return ("batch",)
    return ("batch", "heads", "encoder_sequence" if CROSS in name else "past", "size")


def _output_places(
    tensor: Tensor, tokens: Sequence[int | str], head: Head, graph: str, config: Mapping[str, Any]
) -> tuple[str | int, ...]:
    """Return the axes of an output; one whose second axis has the name of the tokens' has a row a token."""
    if graph == "encoder_model":
        return ("batch", "encoder_sequence")
    if tensor.name == "logits" and head.family in _DECODERS:
        return ("batch", "sequence", _vocabulary(tensor, config))
    is_by_token = tensor.name in head.outputs and head.by_token and bool(tokens)
    return _TOKENS if is_by_token or (tokens and tensor.axes[1:2] == tokens) else ("batch",)


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
    is_cache = tensor.name.startswith((PAST, "present"))
    dtype = "float32" if tensor.dtype == "float16" and not is_cache else tensor.dtype
    return replace(tensor, axes=axes, dtype=dtype)


def _check_decoder(inputs: Iterable[Tensor], outputs: Iterable[Tensor]) -> None:
    """Raise UnsupportedError for a decoder that the token loop cannot run."""
    for tensor in inputs:
        if tensor.name.startswith(PAST):
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
    if not any(tensor.name.startswith("present") for tensor in outputs):
        raise UnsupportedError(
            "the decoder gives no cache (present.*), so every token would read all before it again. Export it with "
            "the task text-generation-with-past, or compile its checkpoint: vitrify export MODEL"
        )
