"""What generation may be asked for: the fields of a generation config, where their values come from, what they exclude.

It knows no decoder and no array.
"""

import dataclasses
import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Self

from ..errors import UnsupportedError, UsageError
from .rules.grammar import NAMES as BOUNDS

# Where neither a maximal length nor a number of new tokens is given.
DEFAULT_NEW_TOKENS = 20

_LOG = logging.getLogger("vitrify")
_SCHEDULES = ("constant", "heuristic", "heuristic_transient")
_CACHES = ("dynamic", "static", "offloaded", "offloaded_static")


@dataclass(frozen=True)
class GenerationConfig:
    """The fields of transformers' generation config that change tokens, by its names; None is the field's default.

    Values are checked one by one when a config is made, and together by `check`, which generation calls: a checkpoint
    may ask for what a caller then overrides.

    Attributes
    ----------
    max_length, max_new_tokens, min_length, min_new_tokens
        `max_length` and `min_length` count the longest prompt of the batch too; the others win over them. Without
        either there are 20 new tokens, fewer where the model has no room.
    sequence_bias
        Maps tuples of tokens to their bias, or is a list of `[[token, ...], bias]`, as JSON has it.
    eos_token_id
        One token or a list of them.
    num_assistant_tokens_schedule
        "heuristic" is "heuristic_transient": nothing is remembered from call to call.
    seed
        Makes sampling repeatable; no field of transformers, which draws from torch's global generator.
    use_cache, cache_implementation, max_cache_len, prefill_chunk_size, return_dict_in_generate, disable_compile
        Accepted without effect: the bundle's graph says how its cache lies, and tokens do not depend on it.

    """

    max_length: int | None = None
    max_new_tokens: int | None = None
    min_length: int | None = None
    min_new_tokens: int | None = None
    max_time: float | None = None
    stop_strings: str | Sequence[str] | None = None

    do_sample: bool | None = None
    num_beams: int | None = None
    num_return_sequences: int | None = None
    early_stopping: bool | str | None = None
    length_penalty: float | None = None
    seed: int | None = None

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    top_h: float | None = None
    typical_p: float | None = None
    epsilon_cutoff: float | None = None
    eta_cutoff: float | None = None

    repetition_penalty: float | None = None
    encoder_repetition_penalty: float | None = None
    no_repeat_ngram_size: int | None = None
    encoder_no_repeat_ngram_size: int | None = None
    bad_words_ids: Sequence[Sequence[int]] | None = None
    sequence_bias: Mapping[tuple[int, ...], float] | Sequence[Any] | None = None
    renormalize_logits: bool | None = None
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | Sequence[int] | None = None
    remove_invalid_values: bool | None = None
    exponential_decay_length_penalty: Sequence[float] | None = None
    suppress_tokens: Sequence[int] | None = None
    begin_suppress_tokens: Sequence[int] | None = None
    token_healing: bool | None = None
    guidance_scale: float | None = None
    watermarking_config: Mapping[str, Any] | None = None

    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | Sequence[int] | None = None
    decoder_start_token_id: int | Sequence[int] | None = None

    num_assistant_tokens: int | None = None
    num_assistant_tokens_schedule: str | None = None
    assistant_confidence_threshold: float | None = None
    prompt_lookup_num_tokens: int | None = None
    max_matching_ngram_size: int | None = None

    output_scores: bool | None = None
    output_logits: bool | None = None

    use_cache: bool | None = None
    cache_implementation: str | None = None
    max_cache_len: int | None = None
    prefill_chunk_size: int | None = None
    return_dict_in_generate: bool | None = None
    disable_compile: bool | None = None

    # What only says that something is wanted which vitrify does not do.
    penalty_alpha: float | None = None
    dola_layers: str | Sequence[int] | None = None
    num_beam_groups: int | None = None
    diversity_penalty: float | None = None
    constraints: Any = None
    force_words_ids: Any = None
    low_memory: bool | None = None
    use_mtp: bool | None = None
    assistant_early_exit: int | None = None
    assistant_ensemble_weight: float | None = None
    speculation_type: str | None = None
    output_attentions: bool | None = None
    output_hidden_states: bool | None = None

    def __post_init__(self) -> None:
        for name in _NUMBERS:
            _check_number(name, getattr(self, name))
        if self.early_stopping not in {None, True, False, "never"}:
            raise UsageError(f"early_stopping is {self.early_stopping!r}; it must be True, False or 'never'")
        if self.num_assistant_tokens_schedule not in {None, *_SCHEDULES}:
            raise UsageError(
                f"num_assistant_tokens_schedule is {self.num_assistant_tokens_schedule!r}; it must be one of "
                f"{', '.join(_SCHEDULES)}"
            )

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The arguments that generation takes."""
        return _NAMES

    @classmethod
    def from_mapping(cls, entries: Mapping[str, Any]) -> Self:
        """Return the config that a checkpoint's entries make; those of other names are left out, as many carry some."""
        return cls(**{name: value for name, value in entries.items() if name in _NAMES})

    def updated(self, **given: Any) -> Self:
        """Return the config with what a caller gives over it; raise UsageError for an argument that it has not."""
        if unknown := sorted(set(given) - set(_NAMES)):
            close = difflib.get_close_matches(unknown[0], _NAMES, 1)
            hint = f"Did you mean '{close[0]}'?" if close else f"It accepts: {', '.join(_NAMES)}"
            raise UsageError(f"unknown generation argument '{unknown[0]}'. {hint}")
        return dataclasses.replace(self, **given)

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn."""
        return self.do_sample is True

    @property
    def beams(self) -> int:
        """How many beams every prompt has; 1 is no beam search."""
        return self.num_beams or 1

    @property
    def returned(self) -> int:
        """How many sequences every prompt gives."""
        return self.num_return_sequences or 1

    @property
    def is_greedy(self) -> bool:
        """Whether every token is the likeliest one."""
        return not self.samples and self.beams == 1

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """The tokens that end a sequence."""
        return _tokens(self.eos_token_id)

    @property
    def pad_id(self) -> int | None:
        """The token after the end: the first end token where the model has no other."""
        return self.pad_token_id if self.pad_token_id is not None else next(iter(self.eos_ids), None)

    @property
    def copies(self) -> int:
        """How many rows of the decoder every prompt becomes."""
        return self.beams if self.beams > 1 else self.returned

    @property
    def guided(self) -> bool:
        """Whether every token asks a second decoder, for classifier-free guidance."""
        return self.guidance_scale not in {None, 1}

    def check(self) -> None:
        """Raise UsageError for values that exclude each other, UnsupportedError for what is not done."""
        for asked, what in _UNSUPPORTED.items():
            if asked(self):
                raise UnsupportedError(f"{what} is not supported: leave it out, or run the checkpoint in transformers")
        if self.returned > 1 and self.is_greedy:
            raise UsageError(
                f"num_return_sequences is {self.returned}, but greedy search finds one sequence: pass do_sample=True "
                f"or num_beams={self.returned}"
            )
        if self.beams > 1 and self.returned > self.beams:
            raise UsageError(
                f"num_return_sequences is {self.returned}, more than num_beams={self.beams}: raise num_beams"
            )
        if self.samples and self.temperature is not None and self.temperature <= 0:
            raise UsageError(
                f"temperature is {self.temperature}; it must be above 0. For greedy search: do_sample=False"
            )
        self._check_forced()

    def _check_forced(self) -> None:
        suppressed = set(self.suppress_tokens or ())
        for name in ("forced_bos_token_id", "forced_eos_token_id"):
            forced = set(_tokens(getattr(self, name)))
            if forced and forced <= suppressed:
                raise UsageError(
                    f"{name} is {sorted(forced)}, all of it in suppress_tokens: remove it from one of them"
                )

    def last_length(self, width: int, capacity: int | None) -> int:
        """Return the length at which rows end whose longest prompt has `width` tokens; it counts the prompt.

        More than `capacity` allows, less one token that need not run any more, is cut down with a warning.
        """
        if self.max_new_tokens is None and self.max_length is None:
            return min(width + DEFAULT_NEW_TOKENS, capacity or width + DEFAULT_NEW_TOKENS)
        if self.max_new_tokens is not None and self.max_length is not None:
            _LOG.warning("max_new_tokens=%s wins over max_length=%s", self.max_new_tokens, self.max_length)
        length = width + self.max_new_tokens if self.max_new_tokens is not None else self.max_length or 0
        if capacity is None or length <= capacity + 1:
            return length
        _LOG.warning("%s tokens are wanted, but the model accepts %s: answers end there", length, capacity)
        return capacity + 1


def entries_of(config: Any) -> dict[str, Any]:
    """Return what a generation config sets: a mapping, ours, or an object with `to_dict`, such as transformers'."""
    if isinstance(config, GenerationConfig):
        config = {name: getattr(config, name) for name in _NAMES}
    elif callable(to_dict := getattr(config, "to_dict", None)):
        config = to_dict()
    if not isinstance(config, (Mapping, type(None))):
        raise UsageError(f"generation_config must be a dict or a GenerationConfig, got {type(config).__name__}")
    return {name: value for name, value in (config or {}).items() if name in _NAMES and value is not None}


def _tokens(value: int | Sequence[int] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, Sequence) else (int(value),)


def _check_number(name: str, value: Any) -> None:
    kind, lowest = _NUMBERS[name]
    is_kind = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    if value is None or (is_kind and float(value) >= lowest):
        return
    wanted = "a whole number" if kind is int else "a number"
    raise UsageError(f"{name} is {value!r}; it must be {wanted}" + (f" from {lowest}" if lowest > -_ANY else ""))


_NAMES = tuple(item.name for item in dataclasses.fields(GenerationConfig))
CONFIG_NAMES = frozenset(_NAMES)
# What belongs to one call, beside `generation_config`.
CALL_NAMES = frozenset(
    {
        "assistant_model",
        "logits_processor",
        "negative_prompt_ids",
        "prefix_allowed_tokens_fn",
        "stopping_criteria",
        "streamer",
        *BOUNDS,
    }
)
_ANY = float("inf")
# The kind and the lowest value of the numbers; logits processors check what else theirs must be.
_NUMBERS: Mapping[str, tuple[type, float]] = {
    "max_length": (int, 0),
    "max_new_tokens": (int, 1),
    "min_length": (int, 0),
    "min_new_tokens": (int, 0),
    "max_time": (float, 0),
    "num_beams": (int, 1),
    "num_return_sequences": (int, 1),
    "length_penalty": (float, -_ANY),
    "seed": (int, 0),
    "guidance_scale": (float, -_ANY),
    "temperature": (float, -_ANY),
    "num_assistant_tokens": (int, 1),
    "assistant_confidence_threshold": (float, 0),
    "prompt_lookup_num_tokens": (int, 1),
    "max_matching_ngram_size": (int, 1),
}
_UNSUPPORTED = {
    lambda it: it.constraints is not None: "constrained beam search (constraints)",
    lambda it: it.force_words_ids is not None: "constrained beam search (force_words_ids)",
    lambda it: (it.num_beam_groups or 1) > 1: "group beam search (num_beam_groups)",
    lambda it: bool(it.diversity_penalty): "group beam search (diversity_penalty)",
    lambda it: bool(it.penalty_alpha) and it.top_k != 1 and it.is_greedy: "contrastive search (penalty_alpha)",
    lambda it: it.dola_layers is not None: "DoLa (dola_layers)",
    lambda it: bool(it.low_memory): "low_memory beam search",
    lambda it: bool(it.use_mtp): "multi-token prediction (use_mtp)",
    lambda it: it.assistant_early_exit is not None: "early-exit speculation (assistant_early_exit)",
    lambda it: it.assistant_ensemble_weight is not None: "ensemble speculation (assistant_ensemble_weight)",
    lambda it: it.speculation_type is not None: "speculation_type",
    lambda it: bool(it.output_attentions): "output_attentions",
    lambda it: bool(it.output_hidden_states): "output_hidden_states",
    lambda it: it.cache_implementation not in {None, "hybrid", *_CACHES}: "this cache_implementation",
}
