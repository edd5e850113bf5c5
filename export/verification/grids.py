"""The plans: at which shapes a checkpoint is traced, and on which grid of other shapes it must then be right."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...runtime.errors import UsageError
from ...runtime.graphs.signature import Axis
from ...runtime.numerics import Arrays
from ...runtime.verification.identity import POSITIONS
from ..checkpoint.limits import positions_of
from ..checkpoint.opened import Checkpoint
from ..reasons import reason_of
from .oracle import ForwardOracle
from .plan import Named, Plan
from .samples import ImageSamples, SpeechSamples, TextSamples, processed_size

BATCHES = (1, 2, 5)
LENGTHS = (7, 64, 512)
SHORTEST = range(1, 7)
TRACED_LENGTH = 13
# One attention layer's scores of the longest row, float32: heads x length x length, held by PyTorch, then the session.
LONGEST_ROW_BYTES = 512 * 2**20
# Sizes that no image processor asks for, an odd one too: what is right at them is dynamic.
# Frames of speech; a few samples more, so that none ends with a frame. 320 of them are 6.4 s for most models.
TRACED_FRAMES, FRAMES, ODD_SAMPLES = 25, (16, 101, 320), 13
TRACED_SIZE, OTHER_SIZES, SMALLEST_SIZE = (96, 160), ((128, 64), (65, 127)), 64


def plans_for(checkpoint: Checkpoint, oracle: ForwardOracle) -> Iterator[Plan]:
    """Yield the plans for this checkpoint, the one that leaves most axes dynamic first."""
    return _PLANS[checkpoint.kinds[0]](checkpoint, oracle)


def _text_plans(checkpoint: Checkpoint, oracle: ForwardOracle) -> Iterator[Plan]:
    samples = TextSamples(checkpoint)
    length = _traced_length(checkpoint.config, oracle, samples)
    batches = _batches(oracle, samples, length)
    maximum = _longest(checkpoint.config, oracle, samples)
    rows = min(2, max(batches))
    shortest = [(f"batch {rows} x sequence {length}", samples.batch(rows, length, seed=1)) for length in SHORTEST]
    yield Plan(
        traced=samples.batch(rows, length),
        grid=tuple(_text_grid(checkpoint.config, samples, maximum, batches)),
        axes={"sequence": Axis(1, maximum)} if rows == 1 else {"batch": Axis(), "sequence": Axis(1, maximum)},
        fixed=("batch",) if rows == 1 else (),
        shortest=tuple((name, inputs) for name, inputs in shortest if oracle.accepts(inputs)),
        more=((f"batch {POSITIONS} x sequence {LENGTHS[0]}", samples.batch(POSITIONS, LENGTHS[0], seed=2)),),
    )


def _traced_length(config: Any, oracle: ForwardOracle, samples: TextSamples) -> int:
    """Return the length to trace at; less for a model of few positions, of which padding may reserve some."""
    longest = min(positions_of(config) or TRACED_LENGTH, TRACED_LENGTH)
    fitting = (length for length in range(longest, 1, -1) if oracle.accepts(samples.batch(1, length)))
    return next(fitting, TRACED_LENGTH)


def _batches(oracle: ForwardOracle, samples: TextSamples, length: int) -> Sequence[int]:
    """Return how many rows the model runs together; a classifier on the last token that knows no pad token, one."""
    if not oracle.accepts(samples.batch(2, length)) and oracle.accepts(samples.batch(1, length)):
        return (1,)
    _require_accepted(oracle, samples.batch(2, length))
    return BATCHES


def _text_grid(config: Any, samples: TextSamples, maximum: int | None, batches: Sequence[int]) -> Iterator[Named]:
    top = min(maximum or LENGTHS[-1], LENGTHS[-1])
    for length in sorted({min(length, top) for length in LENGTHS}):
        for rows in batches:
            yield f"batch {rows} x sequence {length}", samples.batch(rows, length, seed=1)
    longest = maximum or positions_of(config) or top
    while row_bytes(config, longest) > LONGEST_ROW_BYTES:
        longest //= 2
    if longest > top:
        yield f"batch 1 x sequence {longest}", samples.batch(1, longest, seed=1)


def _longest(config: Any, oracle: ForwardOracle, samples: TextSamples) -> int | None:
    """Return the most tokens that the model has positions for, or None where it has no such limit.

    The model itself is asked, for one token more than its config says; a table of positions that reserves some rows
    for padding takes a few less.
    """
    limit = positions_of(config)
    if limit is None or row_bytes(config, limit) > LONGEST_ROW_BYTES or oracle.accepts(samples.batch(1, limit + 1)):
        return None
    return next((length for length in range(limit, limit - 8, -1) if oracle.accepts(samples.batch(1, length))), None)


def row_bytes(config: Any, length: int) -> int:
    """Return how large one attention layer's scores of a row are, float32."""
    heads = getattr(config, "num_attention_heads", None) or 16
    return 4 * int(np.max(heads)) * length * length


def _image_plans(checkpoint: Checkpoint, oracle: ForwardOracle) -> Iterator[Plan]:
    samples = ImageSamples(checkpoint)
    size = processed_size(checkpoint.image_processor)
    _require_accepted(oracle, samples.batch(2, *size))
    # Windowed attention pads by divisibility, which the tracer refuses as a dynamic size, after minutes.
    windowed = hasattr(checkpoint.config, "window_size")
    if not windowed and all(oracle.accepts(samples.batch(1, *other)) for other in (TRACED_SIZE, *OTHER_SIZES)):
        limits = Axis(min(SMALLEST_SIZE, *size))
        yield Plan(
            traced=samples.batch(2, *TRACED_SIZE),
            grid=tuple(_image_grid(samples, [size, *OTHER_SIZES])),
            axes={"batch": Axis(), "height": limits, "width": limits},
        )
    yield Plan(
        traced=samples.batch(2, *size),
        grid=tuple(_image_grid(samples, [size])),
        axes={"batch": Axis()},
        fixed=("height", "width"),
    )


def _image_grid(samples: ImageSamples, sizes: list[tuple[int, int]]) -> Iterator[Named]:
    for height, width in sizes:
        for rows in BATCHES:
            yield f"batch {rows} x {height} x {width}", samples.batch(rows, height, width, seed=1)


def _speech_plans(checkpoint: Checkpoint, oracle: ForwardOracle) -> Iterator[Plan]:
    samples = SpeechSamples(checkpoint)
    stride = getattr(checkpoint.config, "inputs_to_logits_ratio", 320)
    traced = TRACED_FRAMES * stride + ODD_SAMPLES
    _require_accepted(oracle, samples.batch(2, traced))
    shortest = _shortest_speech(oracle, samples, traced)
    lengths = (shortest, shortest + stride, *(frames * stride + ODD_SAMPLES for frames in FRAMES))
    grid = [
        (f"batch {rows} x {size} samples", samples.batch(rows, size, seed=1)) for size in lengths for rows in BATCHES
    ]
    yield Plan(
        traced=samples.batch(2, traced),
        # A mask that leaves a row of the shortest batches without a frame may be refused.
        grid=tuple((name, inputs) for name, inputs in grid if oracle.accepts(inputs)),
        axes={"batch": Axis(), "samples": Axis(shortest)},
    )


def _shortest_speech(oracle: ForwardOracle, samples: SpeechSamples, accepted: int) -> int:
    """Return the fewest samples that the model takes: what its convolutions need for one frame."""
    refused = 0
    while accepted - refused > 1:
        middle = (accepted + refused) // 2
        if oracle.accepts(samples.batch(1, middle)):
            accepted = middle
        else:
            refused = middle
    return accepted


def _require_accepted(oracle: ForwardOracle, inputs: Arrays) -> None:
    """Raise UsageError with the model's own reason if it does not take a plain batch of two."""
    try:
        oracle.outputs(inputs)
    except Exception as error:
        raise UsageError(
            f"the PyTorch model itself rejects a batch of two: {reason_of(error)}. Correct its config.json"
        ) from error


_PLANS = {"text": _text_plans, "image": _image_plans, "audio": _speech_plans}
