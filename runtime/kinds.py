"""What a model reads, text, images or audio, as the name of an input says; it knows no task and opens no file."""

from collections.abc import Iterable, Mapping

TEXT, IMAGE, AUDIO = "text", "image", "audio"
PICTURES = ("pixel_values", "flattened_patches")
SOUND = ("input_features", "input_values")
# The first that a model has counts.
KINDS: Mapping[str, str] = {
    "input_ids": TEXT,
    **dict.fromkeys(PICTURES, IMAGE),
    **dict.fromkeys(SOUND, AUDIO),
}


def kind_of(names: Iterable[str]) -> str | None:
    """Return the kind of what inputs of these names read, or None where none of them tells."""
    found = set(names)
    return next((kind for name, kind in KINDS.items() if name in found), None)
