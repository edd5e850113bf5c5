"""The options of a call as functions, in the order in which transformers 5.23 applies them."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..errors import UsageError
from . import sampling, stopping
from .base import Processor, Stop
from .beams import BeamSettings, Pick, best_places
from .config import GenerationConfig
from .rules import penalties, warpers
from .rules import processors as rules
from .rules.watermarks import watermark

# What is drawn from where nobody says otherwise, as in transformers.
DEFAULT_TOP_K = 50

_LOG = logging.getLogger("vitrify")

# scores float32 [rows, vocabulary] -> int64 [rows]: the next tokens.
Choose = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Call:
    """What the parts need to know beside the config; `width` and `limit` are the first and the last length of a row."""

    width: int
    limit: int
    vocabulary: int
    processors: Sequence[Processor]
    stops: Sequence[Stop]
    prefix_allowed_tokens_fn: Callable[[int, np.ndarray], Sequence[int]] | None
    encoder_ids: Sequence[np.ndarray] | None
    keep_rows: bool
    tokenizer: Any
    generator: np.random.Generator


@dataclass(frozen=True)
class Parts:
    """What the loop is composed of: `rules` say what may come, `warpers` how it is drawn.

    With `keep_rows` one of them goes by the number of a row.
    """

    rules: list[Processor]
    warpers: list[Processor]
    choose: Choose
    pick: Pick
    stop: Stop
    beams: BeamSettings
    keep_rows: bool


def assemble(config: GenerationConfig, call: Call) -> Parts:
    """Return the parts that `config` asks for."""
    keep_rows = call.keep_rows or call.prefix_allowed_tokens_fn is not None or bool(_encoder_fields(config, call))
    return Parts(
        rules=[*_penalties(config, call), *_restrictions(config, call), *call.processors],
        warpers=[*(_shapes(config) if config.samples else ()), *_last(config, call)],
        choose=sampling.sampler(call.generator) if config.samples else sampling.greedy,
        pick=partial(sampling.sample_without_replacement, generator=call.generator) if config.samples else best_places,
        stop=stopping.any_of([*_stops(config, call), *call.stops]),
        beams=BeamSettings(
            beams=config.beams,
            endings=len(config.eos_ids),
            limit=call.limit,
            length_penalty=1.0 if config.length_penalty is None else float(config.length_penalty),
            early_stopping=config.early_stopping or False,
            kept=keep_rows,
        ),
        keep_rows=keep_rows,
    )


def chained(processors: Sequence[Processor]) -> Processor:
    """Return one processor that is all of them, one after the other."""
    if len(processors) == 1:
        return processors[0]

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        for each in processors:
            scores = each(ids, scores)
        return scores

    return process


def _penalties(config: GenerationConfig, call: Call) -> Iterator[Processor]:
    """Yield what makes tokens more or less likely, or forbids those that would repeat something."""
    if config.sequence_bias is not None:
        yield rules.sequence_bias(config.sequence_bias, vocabulary=call.vocabulary)
    encoder_ids, encoder = call.encoder_ids or (), _encoder_fields(config, call)
    if "encoder_repetition_penalty" in encoder:
        yield penalties.encoder_repetition_penalty(config.encoder_repetition_penalty or 1, encoder_ids=encoder_ids)
    if config.repetition_penalty is not None and config.repetition_penalty != 1:
        yield penalties.repetition_penalty(config.repetition_penalty)
    if config.no_repeat_ngram_size:
        yield penalties.no_repeat_ngram_size(config.no_repeat_ngram_size)
    if "encoder_no_repeat_ngram_size" in encoder:
        yield penalties.encoder_no_repeat_ngram_size(config.encoder_no_repeat_ngram_size or 0, encoder_ids=encoder_ids)
    if config.bad_words_ids is not None:
        yield rules.bad_words_ids(config.bad_words_ids, eos=config.eos_ids, vocabulary=call.vocabulary)


def _restrictions(config: GenerationConfig, call: Call) -> Iterator[Processor]:
    """Yield what says which tokens may come at all."""
    eos = config.eos_ids
    if config.min_length and config.min_new_tokens is None:
        yield rules.min_length(config.min_length, eos=eos)
    if config.min_new_tokens:
        yield rules.min_new_tokens(config.min_new_tokens, prompt_length=call.width, eos=eos)
    if (function := call.prefix_allowed_tokens_fn) is not None:
        each = 1 if config.beams > 1 else config.returned  # copies of a prompt that are rows of their own
        yield rules.prefix_allowed_tokens(lambda row, ids: function(row // each, ids), beams=config.beams)
    if config.forced_bos_token_id is not None:
        yield rules.forced_bos_token_id(config.forced_bos_token_id)
    if config.forced_eos_token_id is not None:
        yield rules.forced_eos_token_id(config.forced_eos_token_id, max_length=call.limit)
    if config.remove_invalid_values:
        yield rules.remove_invalid_values()
    if (decay := config.exponential_decay_length_penalty) is not None:
        yield penalties.exponential_decay_length_penalty(decay, prompt_length=call.width, eos=eos)
    if config.suppress_tokens is not None:
        yield rules.suppress_tokens(config.suppress_tokens)
    if config.begin_suppress_tokens is not None:
        is_forced = call.width == 1 and config.forced_bos_token_id is not None  # then the answer begins after it
        yield rules.begin_suppress_tokens(config.begin_suppress_tokens, begin_index=call.width + is_forced)


def _shapes(config: GenerationConfig) -> Iterator[Processor]:
    """Yield what shapes the distribution that tokens are drawn from."""
    # Beams go on only if tokens are left that end no sequence.
    keep = max(2, len(config.eos_ids) + 1) if config.beams > 1 else 1
    if config.temperature is not None and config.temperature != 1:
        yield warpers.temperature(config.temperature)
    if config.top_h is not None:
        yield warpers.top_h(config.top_h)
    if top_k := DEFAULT_TOP_K if config.top_k is None else config.top_k:
        yield warpers.top_k(top_k, keep=keep)
    if config.top_p is not None and config.top_p < 1:
        yield warpers.top_p(config.top_p, keep=keep)
    if config.min_p is not None:
        yield warpers.min_p(config.min_p, keep=keep)
    if config.typical_p is not None and config.typical_p < 1:
        yield warpers.typical_p(config.typical_p, keep=keep)
    if config.epsilon_cutoff:
        yield warpers.epsilon_cutoff(config.epsilon_cutoff, keep=keep)
    if config.eta_cutoff:
        yield warpers.eta_cutoff(config.eta_cutoff, keep=keep)


def _last(config: GenerationConfig, call: Call) -> Iterator[Processor]:
    if config.watermarking_config is not None:
        yield watermark(config.watermarking_config, vocabulary=call.vocabulary, prompt_length=call.width)
    if config.renormalize_logits:
        yield warpers.renormalize_logits()


def _stops(config: GenerationConfig, call: Call) -> Iterator[Stop]:
    """Yield what ends a row, but for the length, which the loop counts itself."""
    if config.max_time is not None:
        yield stopping.max_time(config.max_time)
    if config.stop_strings:
        if call.tokenizer is None:
            raise UsageError("stop_strings need the tokenizer: pass tokenizer=")
        yield stopping.stop_strings(config.stop_strings, text_of=stopping.token_texts(call.tokenizer.backend))
    if config.eos_ids:
        yield stopping.eos_tokens(config.eos_ids)


def _encoder_fields(config: GenerationConfig, call: Call) -> list[str]:
    """Return which fields go by what the encoder read; there is nothing to go by where it read no tokens."""
    wanted = [
        *(["encoder_repetition_penalty"] if config.encoder_repetition_penalty not in {None, 1} else []),
        *(["encoder_no_repeat_ngram_size"] if config.encoder_no_repeat_ngram_size else []),
    ]
    if wanted and call.encoder_ids is None:
        _LOG.warning("%s has no effect: no encoder read tokens", " and ".join(wanted))
        return []
    return wanted
