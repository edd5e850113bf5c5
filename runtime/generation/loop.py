"""The token loop: greedy search, sampling and beam search on a decoder, composed of replaceable parts.

It knows neither graph nor text: prompts are token ids, and a decoder is the contract of `base.py`.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from ..errors import UnsupportedError, UsageError
from ..numerics import log_softmax
from .assemble import Call, Choose, Parts, assemble, chained
from .base import Decoding, Processor, Stop
from .beams import Beams, search
from .config import GenerationConfig
from .decoders.guided import GuidedDecoding
from .decoders.prefixes import resume
from .decoders.speculative import speculative
from .generated import Generated
from .record import Logprobs, keeping
from .rows import Rows
from .rules.healing import heal

_LOG = logging.getLogger("vitrify")


class StreamClosed(Exception):  # noqa: N818 - a signal, no error
    """Raised by a streamer's `put`: nobody listens any more, so generation ends with what there is."""


class Streamer(Protocol):
    """Takes the tokens of one row while they are made."""

    def put(self, tokens: np.ndarray, /) -> None:
        """Take the prompt first, then every new token, as int64 [tokens]."""

    def end(self) -> None:
        """Take notice that no token follows; not called after an error or StreamClosed."""


def generate(
    decoding: Decoding,
    prompts: Sequence[np.ndarray],
    config: GenerationConfig,
    *,
    processors: Sequence[Processor] = (),
    stops: Sequence[Stop] = (),
    prefix_allowed_tokens_fn: Callable[[int, np.ndarray], Sequence[int]] | None = None,
    keep_rows: bool = False,
    streamer: Streamer | None = None,
    encoder_ids: Sequence[np.ndarray] | None = None,
    negative: tuple[Decoding, Sequence[np.ndarray]] | None = None,
    tokenizer: Any = None,
    generator: np.random.Generator | None = None,
    held: np.ndarray | None = None,
    assistant: Decoding | None = None,
    logprobs: bool = False,
) -> Generated:
    """Continue prompts by what a decoder finds likely.

    Parameters
    ----------
    decoding
        A decoder that holds nothing yet, or what `held` says. It is left with some of what was made.
    prompts
        One row each, int64 [tokens], of any lengths above zero: a decoder's prompts, or the tokens that an
        encoder-decoder's answers begin with.
    processors, stops
        What the caller adds: after the rules of `config`, before temperature and sampling.
    prefix_allowed_tokens_fn
        From the number of a prompt and the ids so far to the tokens that may come next.
    keep_rows
        A processor or a stop goes by the number of a row, so finished rows must not leave: they go on with pad tokens.
    encoder_ids
        What an encoder read, a row for each prompt; only the penalties that are named after it ask.
    negative
        For `guidance_scale`: a second decoder, and a prompt for each of its rows. By default a copy of the first one
        with the last token of each prompt.
    tokenizer
        The bundle's, which `stop_strings` and `token_healing` ask for the text of tokens.
    generator
        Where samples come from, instead of `config.seed`.
    held
        The ids that the decoder already holds, for a single prompt: what the prompt has in common is not run again.
    assistant
        A smaller decoder of the same vocabulary that holds nothing, to guess several tokens of a single prompt ahead.
    logprobs
        Whether to return the log probability of every token.

    Raises
    ------
    UsageError
        An argument that cannot be right, or does not go with the others.
    UnsupportedError
        A way of generating that vitrify has not.

    """
    config.check()
    prompts = _checked(prompts, config, streamer=streamer, held=held)
    if config.token_healing:
        prompts = heal(_emptied(decoding.clone()), prompts, tokenizer)
    width = max(map(len, prompts))
    limit = config.last_length(width, decoding.capacity)
    if decoding.capacity is not None and width >= decoding.capacity:
        raise UsageError(
            f"the prompt has {width} tokens and this model accepts {decoding.capacity}, prompt and answer together: "
            "shorten it, or let text-generation cut it with truncation=True or handle_long_generation='hole'"
        )
    if limit <= width:
        raise UsageError(f"prompt and answer may have {limit} tokens, the prompt has {width}: pass max_new_tokens")
    call = Call(
        width=width,
        limit=limit,
        vocabulary=decoding.vocabulary,
        processors=processors,
        stops=stops,
        prefix_allowed_tokens_fn=prefix_allowed_tokens_fn,
        encoder_ids=encoder_ids,
        keep_rows=keep_rows,
        tokenizer=tokenizer,
        generator=generator or np.random.default_rng(config.seed),
    )
    parts = assemble(config, call)
    new = prompts if held is None else resume(decoding, held, prompts[0])[None]
    decoding.reserve(limit)
    if config.guided:
        decoding = _guided(decoding, prompts, config, negative)
    guessing = speculative(decoding, config, prompts, limit=limit, assistant=assistant)
    decoding = guessing or decoding
    start = partial(_prefilled, decoding, new, copies=config.copies)
    if config.beams > 1:
        return _searched(decoding, prompts, start, config, parts)
    rows = Rows(_repeated(prompts, config.copies), limit=limit, pad=config.pad_id or 0, kept=parts.keep_rows)
    made = _continued(decoding, rows, start, parts, config, streamer=streamer, with_logprobs=logprobs)
    if guessing:
        guessing.settle()
    return made


def tokens(
    decoding: Decoding, rows: Rows, logits: np.ndarray, process: Processor, choose: Choose, stop: Stop
) -> Iterator[np.ndarray]:
    """Continue rows until all are finished, yielding the new token of every running row, int64 [rows].

    `logits` [rows, vocabulary] are those after the prompts.
    """
    for room in range(rows.room, 0, -1):
        new = rows.append(choose(process(rows.ids, logits)))
        yield new
        if room == 1:
            return
        finished = stop(rows.ids)
        if finished.any():
            going = rows.end(finished)
            if going is None:
                return
            if len(going) < len(new):
                decoding.select(going)
                new = new[going]
        logits = decoding.append(new[:, None])[:, -1]


def _continued(
    decoding: Decoding,
    rows: Rows,
    start: Callable[[], np.ndarray],
    parts: Parts,
    config: GenerationConfig,
    *,
    streamer: Streamer | None,
    with_logprobs: bool,
) -> Generated:
    """Search greedily, or sample."""
    scores: list[np.ndarray] = []
    logits: list[np.ndarray] = []
    logprobs = Logprobs(rows)
    process = chained(
        [
            *([keeping(logits, rows)] if config.output_logits else []),
            *parts.rules,
            *([logprobs.weigh] if with_logprobs else []),
            *parts.warpers,
            *([keeping(scores, rows)] if config.output_scores else []),
        ]
    )
    listeners = [*([logprobs.choose] if with_logprobs else []), *([streamer.put] if streamer else [])]
    prompt_lengths = rows.lengths
    try:
        if streamer:
            streamer.put(rows.ids[0].copy())
        for new in tokens(decoding, rows, start(), process, parts.choose, parts.stop):
            for listen in listeners:
                listen(new)
        if streamer:
            streamer.end()
    except StreamClosed as reason:
        _LOG.info("generation ends early: %s", reason)
    sequences = rows.sequences()
    new_lengths = [len(row) - length for row, length in zip(sequences, prompt_lengths, strict=True)]
    return Generated(
        sequences,
        prompt_lengths,
        scores=scores if config.output_scores else None,
        logits=logits if config.output_logits else None,
        logprobs=logprobs.of_sequences(new_lengths) if with_logprobs else None,
        held=sequences[0][: decoding.lengths.sum()] if len(sequences) == 1 else None,
    )


def _searched(
    decoding: Decoding,
    prompts: Sequence[np.ndarray],
    start: Callable[[], np.ndarray],
    config: GenerationConfig,
    parts: Parts,
) -> Generated:
    """Search with beams."""
    beams = Beams(prompts, parts.beams)
    scores: list[np.ndarray] = []
    logits: list[np.ndarray] = []
    score = chained(
        [
            *([keeping(logits, beams)] if config.output_logits else []),
            # What guidance gives are log probabilities already, and not renormalized.
            *([] if config.guided else [lambda _, raw: log_softmax(raw, out=raw)]),
        ]
    )
    process = chained(
        [score, *parts.rules, *parts.warpers, *([keeping(scores, beams)] if config.output_scores else [])]
    )
    for _ in search(decoding, beams, start(), process=process, pick=parts.pick, stop=parts.stop):
        pass
    sequences, totals = beams.best(config.returned)
    return Generated(
        sequences,
        [len(prompt) for prompt in _repeated(prompts, config.returned)],
        scores=scores if config.output_scores else None,
        logits=logits if config.output_logits else None,
        sequences_scores=totals,
    )


def _prefilled(decoding: Decoding, prompts: Sequence[np.ndarray] | np.ndarray, *, copies: int) -> np.ndarray:
    """Run the prompts, and copy their rows; return the logits after them, float32 [rows, vocabulary]."""
    logits = decoding.append(prompts)[:, -1]
    if copies == 1:
        return logits
    rows = np.repeat(np.arange(len(prompts)), copies)
    decoding.select(rows)
    return logits[rows]


def _repeated(rows: Sequence[np.ndarray], copies: int) -> list[np.ndarray]:
    return [row for row in rows for _ in range(copies)]


def _emptied(decoding: Decoding) -> Decoding:
    if len(decoding.lengths):
        decoding.truncate(0)
    return decoding


def _guided(
    decoding: Decoding,
    prompts: Sequence[np.ndarray],
    config: GenerationConfig,
    negative: tuple[Decoding, Sequence[np.ndarray]] | None,
) -> Decoding:
    if decoding.has_encoder:  # a decoder that reads the same source differs in nothing to be guided away from
        raise UnsupportedError(
            f"guidance_scale={config.guidance_scale} is not supported for encoder-decoders: leave it out"
        )
    if negative is None:
        negative = _emptied(decoding.clone()), [prompt[-1:] for prompt in prompts]
    if len(negative[1]) != len(prompts):
        raise UsageError(f"{len(negative[1])} negative prompts for {len(prompts)} prompts: pass one for each")
    return GuidedDecoding(decoding, negative[0], scale=float(config.guidance_scale or 1), negative_prompts=negative[1])


def _checked(
    prompts: Sequence[np.ndarray],
    config: GenerationConfig,
    *,
    streamer: Streamer | None,
    held: np.ndarray | None,
) -> list[np.ndarray]:
    """Return the prompts as int64, after a look at whether they suit the other arguments."""
    rows = [np.asarray(prompt) for prompt in prompts]
    for index, row in enumerate(rows):
        if row.ndim != 1 or not len(row) or row.dtype.kind not in "iu" or row.min() < 0:
            raise UsageError(
                f"prompt {index} is {row.dtype} of shape {list(row.shape)}; a prompt is a row of token ids, not empty"
            )
    if not rows:
        raise UsageError("there are no prompts: pass at least one")
    if streamer is not None and (len(rows) > 1 or config.copies > 1):
        raise UsageError(
            f"a streamer accepts one sequence, but {len(rows)} prompts with num_beams={config.beams} and "
            f"num_return_sequences={config.returned} make several at once: generate one, or leave streamer out"
        )
    if held is not None and len(rows) > 1:
        raise UsageError(f"{len(rows)} prompts cannot go on from one cache: pass one, or leave held out")
    return [row.astype(np.int64) for row in rows]
