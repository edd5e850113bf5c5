"""The table of families: topologies of graphs. An architecture never appears here."""

from .base import Family
from .decoder import DecoderFamily
from .encoder import EncoderFamily
from .encoder_decoder import EncoderDecoderFamily

FAMILIES: dict[str, Family] = {
    family.name: family for family in (EncoderFamily(), DecoderFamily(), EncoderDecoderFamily())
}
