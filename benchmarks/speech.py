"""English speech of any length, the same samples every time: the synthesiser of a wheel says a list of sentences.

The synthesiser carries noise from one sentence to the next, so all are said in order, once, by a process of their own:
this file, run as a script.
"""

import ctypes
import subprocess
import sys
from functools import cache
from itertools import accumulate, cycle

import numpy as np

RATE = 16_000
SENTENCES = (
    "The ship sailed across the calm blue sea at noon.",
    "My brother bought seven apples and a loaf of bread at the market.",
    "In the morning, the children walk to school along the river.",
    "Please open the window, because it is very warm in here.",
    "The doctor told her to drink more water and to sleep longer.",
    "Nobody knew who had written the letter on the kitchen table.",
    "The train to London leaves at half past nine every day.",
    "He painted the old wooden door green and the fence white.",
    "Music from the house next door kept us awake until midnight.",
    "A small dog ran after the ball and brought it back.",
    "The farmer grows potatoes, carrots and onions on the hill.",
    "She has lived in this city for more than twenty years.",
    "After the storm, many trees were lying across the road.",
    "We ordered fish and rice, and a cold glass of lemonade.",
    "The museum shows paintings by students of the local college.",
    "His grandfather was a sailor, and his father was a teacher.",
    "Turn left at the bank and walk straight to the station.",
    "The winter was so cold that the whole lake froze.",
    "They built a wooden bridge over the narrow stream.",
    "Every Friday, the old men play cards in the park.",
)
PAUSE = 0.25  # seconds after a sentence
_VOICE, _SYNCHRONOUS, _UTF8 = b"en-us", 2, 1


def speech(seconds: float) -> np.ndarray:
    """Return float32 samples between -1 and 1 at 16 kHz, exactly `seconds` long."""
    said = np.concatenate(_recorded())
    return np.resize(said, round(seconds * RATE))


def transcript(seconds: float) -> list[str]:
    """Return the sentences that `speech(seconds)` says, the last one perhaps cut off."""
    ends = accumulate(len(samples) for samples in cycle(_recorded()))
    said = []
    for sentence, end in zip(cycle(SENTENCES), ends, strict=False):
        said.append(sentence)
        if end >= round(seconds * RATE):
            return said
    return said


@cache
def _recorded() -> tuple[np.ndarray, ...]:
    """Return each sentence, and the pause after it, at 16 kHz."""
    import soxr

    done = subprocess.run([sys.executable, __file__], check=True, capture_output=True)
    rate, *lengths = np.frombuffer(done.stdout, np.int32, 1 + len(SENTENCES)).tolist()
    samples = np.frombuffer(done.stdout[4 * (1 + len(SENTENCES)) :], np.int16).astype(np.float32) / 32768
    sentences = np.split(samples, np.cumsum(lengths)[:-1])
    pause = np.zeros(round(PAUSE * RATE), np.float32)
    return tuple(np.concatenate([soxr.resample(sentence, rate, RATE), pause]) for sentence in sentences)


def _synthesised() -> tuple[int, list[np.ndarray]]:
    """Return the synthesiser's sampling rate and each sentence in 16 bits."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
    if rate < 0 or library.espeak_SetVoiceByName(_VOICE):
        raise SystemExit("the speech synthesiser of the demo does not start: run ./dev setup")
    pieces: list[np.ndarray] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def keep(wave, count, _events):
        if wave and count > 0:
            pieces.append(np.ctypeslib.as_array(wave, (count,)).copy())
        return 0

    library.espeak_SetSynthCallback(keep)
    sentences = []
    for sentence in SENTENCES:
        text = sentence.encode() + b"\0"
        library.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, 0, 0, _UTF8, None, None)
        sentences.append(np.concatenate(pieces))
        pieces.clear()
    return rate, sentences


def main() -> None:
    """Write to standard output: the rate and each sentence's length as int32, then all samples as int16."""
    rate, sentences = _synthesised()
    header = np.array([rate, *map(len, sentences)], np.int32)
    sys.stdout.buffer.write(header.tobytes() + np.concatenate(sentences).tobytes())


if __name__ == "__main__":
    main()
