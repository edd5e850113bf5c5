"""Overlapping token sequences to one that tells the overlap once, as transformers joins chunks of speech."""

from collections.abc import Container, Sequence

import numpy as np

Times = tuple[float, float]


def merge_overlaps(
    sequences: Sequence[Sequence[int]], times: Sequence[Sequence[Times]] | None = None
) -> tuple[list[int], list[Times]]:
    """Return one sequence of neighbours that overlap, and the times of its tokens (empty without `times`).

    Each neighbour is slid along the one before; of the offset with the best share of equal tokens (at least two of
    them; a little more for a longer overlap), the left half comes from the left one. With times, tokens are equal only
    where those of the left are not after those of the right. Source: transformers' Whisper tokenizer.
    """
    total: list[int] = []
    total_times: list[Times] = []
    left = list(sequences[0])
    left_times = list(times[0]) if times else []
    for index, each in enumerate(sequences[1:], start=1):
        right = list(each)
        right_times = list(times[index]) if times else []
        left_middle, right_middle = _seam(left, right, left_times, right_times)
        total += left[:left_middle]
        total_times += left_times[:left_middle]
        left, left_times = right[right_middle:], right_times[right_middle:]
    return total + left, total_times + left_times


def _seam(left: list[int], right: list[int], left_times: list[Times], right_times: list[Times]) -> tuple[int, int]:
    """Return where to leave the left sequence and where to enter the right one."""
    length, width = len(left), len(right)
    equal = np.equal.outer(np.array(left, np.int64), np.array(right, np.int64))
    if left_times and right_times:
        equal &= _not_after(left_times, right_times)
    best, found = 0.0, (length, length, 0, 0)
    for shift in range(1, length + width):
        left_start, right_start = max(0, length - shift), max(0, shift - length)
        matches = int(np.trace(equal[left_start:, right_start:]))
        score = matches / shift + shift / 10000.0
        if matches > 1 and score > best:
            best = score
            found = (left_start, min(length, length + width - shift), right_start, min(width, shift))
    left_start, left_stop, right_start, right_stop = found
    return (left_start + left_stop) // 2, (right_start + right_stop) // 2


def _not_after(left: list[Times], right: list[Times]) -> np.ndarray:
    """Return bool [left, right]: the left times, start before end, are not after the right ones."""
    (left_start, left_end), (right_start, right_end) = np.array(left).T, np.array(right).T
    earlier = np.less.outer(left_start, right_start)
    return earlier | (np.equal.outer(left_start, right_start) & np.less_equal.outer(left_end, right_end))


def join_overlaps(sequences: Sequence[Sequence[int]], *, special: Container[int]) -> list[int]:
    """Return one sequence of chunks whose end the next one repeats, without special tokens.

    The plainer rule that transformers keeps for speech models other than Whisper: the best overlap of an end with a
    beginning is dropped from the beginning.
    """
    plain = [[token for token in each if token not in special] for each in sequences]
    total = plain[0] if plain else []
    for each in plain[1:]:
        best, index = 0.0, 0
        for size in range(1, len(each) + 1):
            matches = sum(a == b for a, b in zip(total[-size:], each[:size], strict=False)) if size <= len(total) else 0
            score = matches / size + size / 10000.0
            if matches > 1 and score > best:
                best, index = score, size
        total = total + each[index:]
    return total
