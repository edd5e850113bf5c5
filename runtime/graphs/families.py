"""The table of families: topologies of graphs, never architectures. A row says all that the runtime asks of one.

What a family adds to be traced and compared is a file of its name in `export/families/`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import IntegrityError


@dataclass(frozen=True)
class Family:
    """One topology.

    Attributes
    ----------
    name
        As `bundle.json` says it.
    graph_sets
        The sets of graphs that each run a whole bundle. The runtime runs the first that is there; others are what other
        tools load. The first graph of a set reads what a caller gives.
    folders
        The same for ONNX folders of other tools: each graph's name here and the stem of its file there.
    opens
        Where the function is, below `runtime`, that makes a decoder of the graphs, for families that generate. The
        graphs of other families are independent of each other: each answers for what it reads.
    encoder
        The graph that runs once, before the decoder.

    """

    name: str
    graph_sets: tuple[tuple[str, ...], ...]
    folders: tuple[Mapping[str, str], ...]
    opens: str | None = None
    encoder: str | None = None

    @property
    def generates(self) -> bool:
        """Whether its bundles generate tokens, one after another."""
        return self.opens is not None

    @property
    def continues_prompts(self) -> bool:
        """Whether it generates what follows its own input."""
        return self.generates and self.encoder is None

    def sets_among(self, names: Collection[str]) -> list[Sequence[str]]:
        """Return every set of these graphs that runs a bundle, each of which must be the same model."""
        return [each for each in self.graph_sets if set(each) <= set(names)]

    def entry(self, names: Collection[str]) -> str:
        """Return which of these graphs reads what a caller gives."""
        return next(each[0] for each in self.graph_sets if each[0] in names)


# Pairs of decoders, for the first step and for those with a past, are what other tools export.
_PAIR = ("decoder_model", "decoder_with_past_model")
_MERGED = "decoder_model_merged"


def _same(*names: str) -> Mapping[str, str]:
    return MappingProxyType({name: name for name in names})


_ROWS = (
    Family(
        "encoder-decoder",
        graph_sets=(
            ("encoder_model", "cross_attention", "decoder_step"),
            ("encoder_model", _MERGED),
            ("encoder_model", *_PAIR),
        ),
        folders=(_same("encoder_model", _MERGED), _same("encoder_model", *_PAIR)),
        opens="generation.decoders.from_graphs:open_encoder_decoder",
        encoder="encoder_model",
    ),
    Family(
        "decoder",
        graph_sets=(("in_place",), ("model",), _PAIR),
        folders=(MappingProxyType({"model": _MERGED}), _same("model"), _same(*_PAIR)),
        opens="generation.decoders.from_graphs:open_decoder",
    ),
    Family("encoder", graph_sets=(("model",),), folders=(_same("model"),)),
)
FAMILIES: Mapping[str, Family] = MappingProxyType({row.name: row for row in _ROWS})


def find_family(name: str) -> Family:
    """Return the row of this name; raise IntegrityError where a bundle names a family that there is not."""
    if name not in FAMILIES:
        raise IntegrityError(f"unknown family '{name}' (known: {', '.join(FAMILIES)}): update vitrify")
    return FAMILIES[name]
