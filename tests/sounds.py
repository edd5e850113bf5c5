"""Sounds made of a seed, for what hears them."""

import numpy as np


def sound(seconds, seed=0):
    """Return noise in bursts of changing loudness, float32 [samples] at 16 kHz."""
    generator = np.random.default_rng(seed)
    loudness = np.repeat(generator.random(int(seconds * 20) + 1), 800)[: int(seconds * 16000)]
    return (generator.normal(size=len(loudness)) * loudness * 0.3).astype(np.float32)
