"""The ways to run a bundle's graphs: what the runtime takes, what others take, and how parity is replayed on each."""

from collections.abc import Callable, Collection, Mapping, Sequence

from ..sessions.model import Model, Outputs

# The sets of graphs that each run a whole bundle; the runtime takes the first that is there, others take another. A
# pair of decoders, for the first step and for those with a past, is how others compile.
_WAYS: Mapping[str, Sequence[Sequence[str]]] = {
    "encoder": (("model",),),
    "decoder": (("in_place",), ("model",), ("decoder_model", "decoder_with_past_model")),
    "encoder-decoder": (
        ("encoder_model", "cross_attention", "decoder_step"),
        ("encoder_model", "decoder_model_merged"),
        ("encoder_model", "decoder_model", "decoder_with_past_model"),
    ),
}


def ways_to_run(family: str, names: Collection[str]) -> list[Sequence[str]]:
    """Return every set of these graphs that runs the bundle, each of which must be the same model."""
    return [way for way in _WAYS[family] if set(way) <= set(names)]


def replayed(family: str, graphs: Mapping[str, Model]) -> list[Callable[..., Outputs]]:
    """Return what answers to a family's parity cases: its one graph, or a decoder that is told every token.

    Where graphs overlap, because others run a model otherwise than this runtime does, every way is among them.
    """
    if family == "encoder":
        return [graphs["model"]]
    from ..generation.decoders.table import TeacherForced, open_decoding

    def forced(names: Sequence[str]) -> TeacherForced:
        own = {name: graphs[name] for name in names}
        return TeacherForced(lambda inputs: open_decoding(family, own, inputs))

    return [forced(names) for names in ways_to_run(family, graphs)]
