"""Where in the audio each token was heard: dynamic time warping of the decoder's cross attentions, in numpy."""

import numpy as np

from .segments import FRAMES_A_TIMESTAMP, TIMESTAMP

# The ways into a cell of the cost matrix: a next token at a next frame, a next token, a next frame.
_BOTH, _TOKEN, _FRAME = 0, 1, 2


def token_times(attention: np.ndarray, *, frames: int, filter_width: int = 7) -> np.ndarray:
    """Return where the tokens end, in seconds from the window's start, float64 [tokens + 1].

    Parameters
    ----------
    attention
        float32 [heads, tokens, states]: what each written token but the last attends to, in the heads that follow the
        audio. The last token, which ends the transcript, gets the time of the one before.
    frames
        How many frames of features hold audio; what the states beyond them say is left out.
        Where there are none the tokens get the window's start; transformers counts back from the window's end.
    filter_width
        The median filter's width, an odd number of states.

    """
    heads, tokens, _ = attention.shape
    weights = attention[..., : max(frames, 0) // FRAMES_A_TIMESTAMP]
    if not tokens or not heads or not weights.shape[-1]:
        return np.zeros(tokens + 1)
    with np.errstate(invalid="ignore", divide="ignore"):  # a single token does not deviate: it gets the start
        weights = (weights - weights.mean(axis=1, keepdims=True)) / weights.std(axis=1, keepdims=True)
    weights = median_filter(weights, filter_width).mean(axis=0)
    token_index, state_index = warp(-weights.astype(np.float64))
    firsts = np.diff(token_index, prepend=-1).astype(bool)
    times = np.maximum(state_index[firsts], 0) * TIMESTAMP
    return np.append(times, times[-1])


def median_filter(values: np.ndarray, width: int) -> np.ndarray:
    """Return the running median over the last axis, which is mirrored beyond its ends; too short, it stays."""
    half = width // 2
    if values.shape[-1] <= half:
        return values
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(half, half)], mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=-1)
    return np.partition(windows, half, axis=-1)[..., half]


def warp(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cheapest monotonic path through `costs` [tokens, states], as indices of tokens and of states.

    Dynamic time warping (Sakoe and Chiba, 1978), a whole anti-diagonal at a time, in single precision and with ties
    going to the next frame, as in transformers.
    """
    tokens, states = costs.shape
    # Row i moved i columns to the right: column d - 2 then holds the cells of the anti-diagonal i + j = d.
    skewed = np.zeros((tokens, states + tokens))
    skewed[:, :states] = costs
    skewed = skewed.ravel()[: tokens * (states + tokens - 1)].reshape(tokens, -1).T.copy()
    ways = np.full((tokens + states + 1, tokens + 1), _FRAME, np.int8)
    before, last = np.full((2, tokens + 1), np.inf, np.float32)  # costs of the anti-diagonals d - 2 and d - 1
    before[0] = 0
    for diagonal in range(2, tokens + states + 1):
        low, high = max(1, diagonal - states), min(tokens, diagonal - 1) + 1
        both, token, frame = before[low - 1 : high - 1], last[low - 1 : high - 1], last[low:high]
        by_both, by_token = (both < token) & (both < frame), (token < both) & (token < frame)
        least = np.where(by_both, both, np.where(by_token, token, frame))
        ways[diagonal, low:high] = np.where(by_both, _BOTH, np.where(by_token, _TOKEN, _FRAME))
        now = np.full(tokens + 1, np.inf, np.float32)
        now[low:high] = skewed[diagonal - 2, low - 1 : high - 1] + least
        before, last = last, now
    return _path(ways, tokens, states)


def _path(ways: np.ndarray, tokens: int, states: int) -> tuple[np.ndarray, np.ndarray]:
    path, i, j = [], tokens, states
    while i > 0 or j > 0:
        path.append((i - 1, j - 1))
        way = _FRAME if i == 0 else _TOKEN if j == 0 else ways[i + j, i]
        i -= way != _FRAME
        j -= way != _TOKEN
    indices = np.array(path[::-1]).T
    return indices[0], indices[1]
