"""What exports each family, by the names of the runtime's table. An architecture never appears here."""

import importlib
from collections.abc import Mapping

from .base import Family

# The module in this folder, and the class in it.
ROWS: Mapping[str, str] = {
    "encoder": "encoder:EncoderFamily",
    "decoder": "decoder:DecoderFamily",
    "encoder-decoder": "encoder_decoder:EncoderDecoderFamily",
}


def export_family(name: str) -> Family:
    """Return what exports the family of this name."""
    module, found = ROWS[name].split(":")
    return getattr(importlib.import_module(f".{module}", __package__), found)()
