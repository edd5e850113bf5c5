"""Pictures made of a seed: smooth ones, as a camera takes them, and noise."""

import numpy as np
from PIL import Image


def picture(seed=0, size=(57, 43)):
    """Return a smooth picture: blocks of colour, enlarged."""
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def noise(width, height, mode="RGB"):
    channels = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,)}[mode]
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, *channels), dtype=np.uint8)
    return Image.fromarray(pixels)
