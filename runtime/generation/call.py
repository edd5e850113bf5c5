"""One call of generation on a bundle: which arguments are the config's, which the call's, which feed an encoder.

It is what pipelines and `LoadedBundle.generate` share; the loop itself knows no bundle.
"""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..graphs.signature import MASK, states_of
from .base import Processor
from .config import CALL_NAMES, CONFIG_NAMES, GenerationConfig, entries_of
from .generated import Generated, padded
from .loaded import LoadedGenerator
from .loop import generate
from .prompts import check_ids, first_tokens, rows_of, token_rows
from .rules.grammar import NAMES, constraint

_LOG = logging.getLogger("vitrify")
# What a checkpoint that is made to guess says of it.
_GUESSING = ("num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold")


def generate_rows(
    loaded: LoadedGenerator,
    prompts: Sequence[np.ndarray],
    given: Mapping[str, Any],
    *,
    features: Mapping[str, np.ndarray] | None = None,
) -> Generated:
    """Generate for prompts of any lengths, as one batch.

    Parameters
    ----------
    bundle
        Of a family that generates.
    prompts
        Token rows, 1-D int64: what a decoder continues, or what the encoder of an encoder-decoder reads. A decoder's
        that are empty begin with `bos_token_id`.
    given
        Fields of `GenerationConfig` by name, over the checkpoint's own, which None takes back, and what belongs to a
        call: `generation_config` (a mapping, or an object with `to_dict`, under the fields), `streamer`,
        `logits_processor`, `stopping_criteria`,
        `prefix_allowed_tokens_fn`, `negative_prompt_ids`, `decoder_input_ids`, `assistant_model` (a loaded bundle of
        the same vocabulary, or the folder of one) and one of `json_schema`, `regex`, `grammar`.
    features
        What an encoder of speech or images reads instead, by the names of its graph, one row each; then `prompts` are
        what the answers begin with, and may be empty for the usual start.

    Raises
    ------
    UsageError
        An argument that cannot be right.

    """
    config = _config(loaded, given)
    named = {"generation_config", *CONFIG_NAMES}
    call = {name: value for name, value in given.items() if value is not None and name not in named}
    starts = call.pop("decoder_input_ids", None)
    if unknown := sorted(set(call) - CALL_NAMES):
        raise UsageError(f"unknown generation argument '{unknown[0]}'")
    _check_objects(call)
    if loaded.bundle.topology.encoder is not None:
        return _answered(loaded, prompts, config, call, features, None if starts is None else token_rows(starts))
    if starts is not None:
        raise UsageError("decoder_input_ids are for encoder-decoders: a decoder's are its prompts")
    prompts = [np.asarray(row) for row in prompts]
    if not all(map(len, prompts)) or not prompts:
        first = first_tokens(config.bos_token_id, "bos_token_id", 1)[0]
        prompts = [row if len(row) else first for row in prompts] or [first]
    return _generated(loaded, prompts, config, call, features or {}, encoder_ids=prompts)


def generate_arrays(
    loaded: LoadedGenerator, input_ids: Any, attention_mask: Any, given: Mapping[str, Any]
) -> np.ndarray:
    """Generate for arrays (see `LoadedBundle.generate`)."""
    encoder = loaded.bundle.topology.encoder
    names = [] if encoder is None else [tensor.name for tensor in loaded.bundle.graphs[encoder].inputs]
    features = {name: np.asarray(given[name]) for name in names if name in given}
    rest = {name: value for name, value in given.items() if name not in features}
    config = _config(loaded, rest)
    # As in transformers, which infers a decoder's mask, and no encoder's, from pads that do not end an answer too.
    pad = config.pad_token_id if encoder is None and config.pad_token_id not in config.eos_ids else None
    prompts = [] if input_ids is None else rows_of(input_ids, attention_mask, pad=pad)
    if attention_mask is not None and MASK in names and features:
        features[MASK] = np.asarray(attention_mask)
    made = generate_rows(loaded, prompts, rest, features=features or None)
    return padded(made, config.pad_id or 0)


def _config(loaded: LoadedGenerator, given: Mapping[str, Any]) -> GenerationConfig:
    """Return the fields that are given over the checkpoint's own, which None takes back."""
    settings = {**loaded.generation_config, **entries_of(given.get("generation_config"))}
    fields = {name: value for name, value in given.items() if name in CONFIG_NAMES}
    return GenerationConfig.from_mapping(settings).updated(**fields)


def _answered(
    loaded: LoadedGenerator,
    prompts: Sequence[np.ndarray],
    config: GenerationConfig,
    call: Mapping[str, Any],
    features: Mapping[str, np.ndarray] | None,
    starts: Sequence[np.ndarray] | None,
) -> Generated:
    """Generate what an encoder-decoder answers; `starts` are what the answers begin with, if not as usual."""
    encoder_ids = None
    usual = config.bos_token_id if config.decoder_start_token_id is None else config.decoder_start_token_id
    if features is None:
        if not prompts:
            raise UsageError("there are no prompts: pass at least one")
        check_ids(prompts, loaded.config.get("src_vocab_size", loaded.config.get("vocab_size")))
        features, encoder_ids, prompts = _encoder_inputs(loaded, prompts), prompts, []
        if starts is not None and usual is not None:  # as in transformers, where an encoder reads text
            firsts = first_tokens(usual, "decoder_start_token_id", len(starts))
            starts = [
                row if row[:1].tolist() == first.tolist() else np.append(first, row)
                for row, first in zip(starts, firsts, strict=True)
            ]
    rows = len(next(iter(features.values())))
    begin = starts or prompts or first_tokens(usual, "decoder_start_token_id", rows)
    if len(begin) != rows:
        raise UsageError(f"{len(begin)} answers are begun for {rows} inputs: begin one for each")
    return _generated(loaded, begin, config, call, features, encoder_ids=encoder_ids)


def _generated(
    loaded: LoadedGenerator,
    prompts: Sequence[np.ndarray],
    config: GenerationConfig,
    call: Mapping[str, Any],
    features: Mapping[str, np.ndarray],
    *,
    encoder_ids: Sequence[np.ndarray] | None,
) -> Generated:
    """Run the loop with what belongs to this call, on a decoder that goes on from the last call's where it may."""
    may_go_on = _may_go_on(loaded, prompts, config)
    kept = loaded.prefixes.take(prompts[0]) if may_go_on else None
    decoding, held = kept or (loaded.decoding(**features), None)
    check_ids(prompts, decoding.vocabulary)
    assistant = _assistant(loaded, call.get("assistant_model"))
    if loaded.profile.precision == "int8" and (assistant or config.prompt_lookup_num_tokens):
        _LOG.warning(
            "with int8 activations, speculative tokens change the scales of a run: answers may differ from plain ones"
        )
    if assistant is not None:
        config = _with_habits(config, assistant)
    negative = call.get("negative_prompt_ids")
    rules = _functions(call, "logits_processor")
    stops = _functions(call, "stopping_criteria")
    bounds = _bounds(loaded, config, call, decoding.vocabulary)
    made = generate(
        decoding,
        prompts,
        config,
        processors=[*bounds, *rules],
        stops=stops,
        prefix_allowed_tokens_fn=call.get("prefix_allowed_tokens_fn"),
        keep_rows=bool(bounds or rules or stops),  # what others wrote may go by the number of a row
        streamer=call.get("streamer"),
        encoder_ids=encoder_ids,
        negative=None if negative is None else (loaded.decoding(**features), token_rows(negative)),
        tokenizer=loaded.tokenizer,
        held=held,
        assistant=None if assistant is None else assistant.decoding(**features),
    )
    if may_go_on and made.held is not None:
        loaded.prefixes.put(decoding, made.held, size=len(made.held) * _bytes_of_token(loaded))
    return made


def _may_go_on(loaded: LoadedGenerator, prompts: Sequence[np.ndarray], config: GenerationConfig) -> bool:
    """Tell whether this call may go on from a former one's keys and values without another result.

    Where activations are quantized together, those of a token depend on what runs with it.
    """
    is_single = len(prompts) == 1 and config.copies == 1
    return is_single and loaded.bundle.topology.continues_prompts and loaded.profile.precision != "int8"


def _bytes_of_token(loaded: LoadedGenerator) -> int:
    """Return how much the keys and values of a token take."""
    states = states_of(loaded.bundle.graphs[loaded.graph_set[-1]].inputs).values()
    fixed = [[axis for axis in state.axes if isinstance(axis, int)] for state in states]
    return sum(math.prod(axes) * state.array_dtype.itemsize for axes, state in zip(fixed, states, strict=True))


def _bounds(
    loaded: LoadedGenerator, config: GenerationConfig, call: Mapping[str, Any], vocabulary: int
) -> list[Processor]:
    """Return what keeps answers to a schema, an expression or a grammar."""
    wanted = {name: call[name] for name in NAMES if name in call}
    if not wanted:
        return []
    name = next(iter(wanted))
    if config.beams > 1:
        raise UsageError(f"{name} does not go with num_beams={config.beams}: pass num_beams=1")
    if loaded.tokenizer is None:
        raise UsageError(f"{name} needs the tokenizer, and bundle '{loaded.name}' has none")
    return [constraint(wanted, tokenizer=loaded.tokenizer.backend, vocabulary=vocabulary, ends=config.eos_ids)]


def _assistant(loaded: LoadedGenerator, given: Any) -> LoadedGenerator | None:
    """Return the bundle that guesses, which must write the same tokens."""
    if given is None:
        return None
    other = loaded.assistant(given) if isinstance(given, (str, Path)) else given
    if not hasattr(other, "decoding"):
        raise UsageError(f"assistant_model must be a loaded bundle or the folder of one, got {type(given).__name__}")
    if other.bundle.family != loaded.bundle.family:
        raise UsageError(
            f"assistant_model '{other.name}' is of family '{other.bundle.family}', '{loaded.name}' of "
            f"'{loaded.bundle.family}': they must be of one"
        )
    if not _are_alike(loaded, other):
        raise UsageError(f"assistant_model '{other.name}' has other tokens than '{loaded.name}': pass one of its kind")
    return other


def _are_alike(loaded: LoadedGenerator, other: LoadedGenerator) -> bool:
    """Tell whether two bundles have the same tokens; where one has no tokenizer there is nothing to compare."""
    digests = [each.bundle.files.get("tokenizer.json") for each in (loaded, other)]
    if None in digests or digests[0] == digests[1] or loaded.tokenizer is None or other.tokenizer is None:
        return True
    return loaded.tokenizer.get_vocab() == other.tokenizer.get_vocab()


def _with_habits(config: GenerationConfig, assistant: LoadedGenerator) -> GenerationConfig:
    """Return the config with what the assistant's checkpoint says of guessing, where nothing else is said."""
    open_ones = [name for name in _GUESSING if getattr(config, name) is None]
    found = {name: assistant.generation_config.get(name) for name in open_ones}
    return config.updated(**found)


def _check_objects(call: Mapping[str, Any]) -> None:
    """Raise UsageError for what is not the object that only Python can pass."""
    streamer, allowed = call.get("streamer"), call.get("prefix_allowed_tokens_fn")
    if streamer is not None and not all(callable(getattr(streamer, name, None)) for name in ("put", "end")):
        raise UsageError(f"streamer must be an object with put() and end(), such as a TextStreamer, got {streamer!r}")
    if allowed is not None and not callable(allowed):
        raise UsageError(f"prefix_allowed_tokens_fn must be a function, got {allowed!r}")


def _functions(call: Mapping[str, Any], name: str) -> list[Any]:
    """Return the functions of an argument that takes several, or one."""
    given = call.get(name, ())
    if not callable(given) and not isinstance(given, Iterable):
        raise UsageError(f"{name} must be a list of functions, got {given!r}")
    functions = [given] if callable(given) else list(given)
    if wrong := [each for each in functions if not callable(each)]:
        raise UsageError(f"{name} must be a list of functions, got a {type(wrong[0]).__name__} in it")
    return functions


def _encoder_inputs(loaded: LoadedGenerator, rows: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return ragged rows as the encoder's inputs, int64 [rows, longest], padded on the right."""
    longest = max(map(len, rows))
    pad = loaded.generation_config.get("pad_token_id") or 0
    ids, mask = np.full((len(rows), longest), pad, np.int64), np.zeros((len(rows), longest), np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)], mask[index, : len(row)] = row, 1
    return {"input_ids": ids, MASK: mask}
