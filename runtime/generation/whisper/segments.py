"""One window's tokens to segments with times, and how far the next window starts; runs no model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FRAME = 0.01  # seconds between two frames of features
TIMESTAMP = 0.02  # seconds between two timestamp tokens, and between two of the encoder's states
FRAMES_A_TIMESTAMP = 2


@dataclass(frozen=True)
class Segment:
    """A piece of the transcript, in seconds of the recording.

    `tokens` holds its timestamp tokens too; `times` says for each token where it ends, if that was asked for.
    """

    start: float
    end: float
    tokens: list[int]
    times: np.ndarray | None = None


def split_segments(
    tokens: Sequence[int], *, timestamp_begin: int, seek: int, frames: int, times: np.ndarray | None = None
) -> tuple[list[Segment], int]:
    """Return the segments of a window that starts at frame `seek`, and how many frames on the next window starts.

    A segment ends where two timestamps follow one another. What comes after the last such pair is unfinished: it is
    left out and the next window starts there, unless the window ends in a single timestamp, after which nobody
    speaks. `times` is float [tokens], from the window's start. Source: section 3.8 of the Whisper paper.
    """
    stamps = [token >= timestamp_begin for token in tokens]
    ends = [index + 1 for index in range(len(stamps) - 1) if stamps[index] and stamps[index + 1]]
    offset = seek * FRAME

    def segment(start: int, stop: int, span: tuple[float, float]) -> Segment:
        placed = None if times is None else times[start:stop] + offset
        return Segment(offset + span[0] * TIMESTAMP, offset + span[1] * TIMESTAMP, list(tokens[start:stop]), placed)

    if not ends:
        return [segment(0, len(tokens), (0, _last_stamp(tokens, timestamp_begin, frames)))], frames
    closes = stamps[-2:] == [False, True]
    ends = [*ends, len(tokens)] if closes else [*ends[:-1], ends[-1] + 1]
    segments, start = [], 0
    for stop in ends:
        last = stop - 2 if stop == ends[-1] and not closes else stop - 1
        segments.append(segment(start, stop, (tokens[start] - timestamp_begin, tokens[last] - timestamp_begin)))
        start = stop
    spoken = (tokens[ends[-1] - 2] - timestamp_begin) * FRAMES_A_TIMESTAMP
    return segments, frames if closes or spoken <= 0 else spoken


def _last_stamp(tokens: Sequence[int], begin: int, frames: int) -> int:
    """Return the last timestamp, in steps, or the window's end where there is none but 0.00."""
    stamps = [token for token in tokens if token >= begin]
    return stamps[-1] - begin if stamps and stamps[-1] != begin else int(frames * FRAME / TIMESTAMP)
