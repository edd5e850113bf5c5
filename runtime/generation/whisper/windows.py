"""Whisper's own generation: windows of a long recording one after another, each tried until it is good enough.

It knows log-mel features and tokens; audio and text are the pipeline's. Source: section 3.8 of the Whisper paper
(Radford et al. 2022) in the reading of transformers 5.23.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ...errors import UsageError
from ..base import Decoding, Processor
from ..config import GenerationConfig
from ..loop import generate
from ..rules.processors import whisper_timestamps
from .alignment import token_times
from .prompt import TranscriptionOptions, WhisperSettings, check_options, detects_language, initial_tokens
from .segments import Segment, split_segments

# Above it a text is too random for the next window to go on from.
_LOW_TEMPERATURE = 0.5


class SpeechModel(Protocol):
    """A speech recognition model of the encoder-decoder kind, on its sessions."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The checkpoint's config.json."""
        ...

    @property
    def generation_config(self) -> Mapping[str, Any]:
        """The checkpoint's generation_config.json."""
        ...

    def decoding(self, features: np.ndarray) -> Decoding:
        """Run the encoder on float32 [rows, mels, frames] and return a decoding of its rows.

        It may be cloned, and rows of it selected, before its first tokens are appended.
        """
        ...

    def alignment(self, features: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Return the cross attentions of the alignment heads, float32 [rows, heads, tokens, states].

        `tokens` is int64 [rows, tokens], shorter rows are filled up on the right.
        """
        ...


@dataclass(frozen=True)
class Recording:
    """A recording's features, float32 [mels, frames]; the first `frames` of them hold audio, the rest is padding."""

    features: np.ndarray
    frames: int


@dataclass(frozen=True)
class Transcription:
    """What was heard: `segments`, and the token of the `language`, None where the model has no such tokens."""

    segments: list[Segment]
    language: int | None

    @property
    def tokens(self) -> list[int]:
        return [token for segment in self.segments for token in segment.tokens]

    @property
    def times(self) -> list[float]:
        """Where each token ends in the recording, in seconds; empty unless words were asked for."""
        return [time for segment in self.segments if segment.times is not None for time in segment.times.tolist()]


def transcribe(
    model: SpeechModel,
    recordings: Sequence[Recording],
    *,
    config: GenerationConfig,
    options: TranscriptionOptions | None = None,
) -> list[Transcription]:
    """Return what is said in recordings of any length, which go through the model together, window by window.

    A recording of one window that needs no timestamps is one plain generation. UsageError: see `TranscriptionOptions`
    and `check_options`; also a prompt that leaves no room for the answer.
    """
    run = _Run(model, options or TranscriptionOptions(), config)
    return run(recordings)


def check_request(
    config: Mapping[str, Any], generation_config: Mapping[str, Any], options: TranscriptionOptions
) -> None:
    """Raise UsageError if a checkpoint cannot do what `options` ask for."""
    settings = WhisperSettings.from_mappings(config, generation_config)
    check_options(options.completed(generation_config), settings)


@dataclass
class _Progress:
    """How far one recording is."""

    recording: Recording
    options: TranscriptionOptions
    is_conditioned: bool
    timestamps: bool
    initial: list[int] = field(default_factory=list)
    seek: int = 0
    segments: list[Segment] = field(default_factory=list)

    @property
    def left(self) -> int:
        return self.recording.features.shape[1] - self.seek

    def window(self, frames: int) -> np.ndarray:
        """Return the next window, float32 [mels, frames]; the last one is filled up with zeros."""
        found = self.recording.features[:, self.seek : self.seek + frames]
        return np.pad(found, ((0, 0), (0, frames - found.shape[1])))


@dataclass(frozen=True)
class _Answer:
    """What the model wrote for a window, its end token included where it wrote one."""

    tokens: list[int]
    temperature: float
    is_silence: bool = False


class _Run:
    """The settings of one call, and its steps."""

    def __init__(self, model: SpeechModel, options: TranscriptionOptions, config: GenerationConfig) -> None:
        self.model = model
        self.settings = WhisperSettings.from_mappings(model.config, model.generation_config)
        self.options = options.completed(model.generation_config)
        self.config = config
        check_options(self.options, self.settings)

    def __call__(self, recordings: Sequence[Recording]) -> list[Transcription]:
        rows = len(recordings)
        progress = [self._progress(each, self.options.of(row, rows)) for row, each in enumerate(recordings)]
        for timestamps in (False, True):  # what the model may write differs, so they do not share a batch
            while active := [each for each in progress if each.timestamps == timestamps and each.left > 0]:
                self._transcribe_windows(active)
        named = set(self.settings.languages.values())
        return [
            Transcription(each.segments, next((token for token in each.initial if token in named), None))
            for each in progress
        ]

    def _progress(self, recording: Recording, options: TranscriptionOptions) -> _Progress:
        is_long = recording.features.shape[1] > self.settings.window
        asked = self.options.return_timestamps
        if is_long and asked is False:
            raise UsageError(
                "audio longer than 30 seconds is cut by its timestamps, and return_timestamps=False forbids "
                "them: leave it out, or pass chunk_length_s=30"
            )
        timestamps = is_long or bool(self.settings.return_timestamps if asked is None else asked)
        if timestamps and self.settings.no_timestamps is None:
            raise UsageError("this checkpoint has no timestamp tokens: pass chunk_length_s=30 for long audio")
        return _Progress(recording, options, bool(options.condition_on_prev_tokens), timestamps)

    def _transcribe_windows(self, active: list[_Progress]) -> None:
        """Transcribe the next window of every recording that is not done."""
        frames = self.settings.window
        windows = np.stack([each.window(frames) for each in active])
        decoding = self.model.decoding(windows)
        self._begin(active, decoding)
        prompts = [self._prompt(each) for each in active]
        answers = self._decode(decoding, prompts, timestamps=active[0].timestamps)
        if self.options.return_timestamps == "word":
            times = self._times(active, windows, prompts, answers)
        else:
            times = [None] * len(active)
        for each, answer, placed in zip(active, answers, times, strict=True):
            length = min(each.left, frames)
            low = answer.temperature < _LOW_TEMPERATURE
            each.is_conditioned = bool(self.options.condition_on_prev_tokens) and low
            if answer.is_silence:
                each.seek += length
                continue
            segments, advance = split_segments(
                self._text(answer.tokens),
                timestamp_begin=self.settings.timestamp_begin,
                seek=each.seek,
                frames=length,
                times=placed,
            )
            each.segments += segments
            each.seek += advance

    def _begin(self, active: list[_Progress], decoding: Decoding) -> None:
        """Fix what transcripts start with; on the first windows the model may be asked for their languages."""
        new = [index for index, each in enumerate(active) if not each.initial]
        languages: dict[int, int] = {}
        if new and detects_language(self.options, self.settings):
            known = np.array(list(self.settings.languages.values()))
            logits = decoding.clone().append(np.full((len(active), 1), self.settings.start, np.int64))[:, -1]
            languages = dict(enumerate(known[logits[:, known].argmax(axis=1)].tolist()))
        for index in new:
            active[index].initial = initial_tokens(
                active[index].options,
                self.settings,
                timestamps=active[index].timestamps,
                detected=languages.get(index),
            )

    def _prompt(self, each: _Progress) -> np.ndarray:
        """Return what the decoder reads before it writes: previous text, or the user's prompt, then `initial`."""
        given = self.options.prompt_ids
        user = [] if given is None else [int(token) for token in np.ravel(given)]
        previous = [] if self.settings.previous is None else [self.settings.previous]
        everywhere = self.options.prompt_condition_type == "all-segments"
        told = [token for segment in each.segments for token in self._continued(segment)]
        if user and not everywhere:
            told = (user[1:] if user[:1] == previous else user) + told
        if each.is_conditioned and (each.segments or (user and not everywhere)):
            start = user if user and everywhere else previous
            before = start + told[-(self.settings.positions // 2 - 1) :]
        else:
            before = user
        return np.array(before + each.initial, np.int64)

    def _continued(self, segment: Segment) -> list[int]:
        """Return a segment's tokens; of two timestamps at its end the next window is told one."""
        tokens = segment.tokens
        twice = len(tokens) > 2 and tokens[-2] >= self.settings.timestamp_begin
        return tokens[:-1] if twice else tokens

    def _text(self, tokens: list[int]) -> list[int]:
        return tokens[:-1] if tokens[-1:] == [self.settings.end] else tokens

    def _decode(self, decoding: Decoding, prompts: list[np.ndarray], *, timestamps: bool) -> list[_Answer]:
        """Return each row's first answer that is good enough, or that of the last temperature."""
        silence = self._silence(decoding, prompts)
        answers: dict[int, _Answer] = {}
        rows = np.arange(len(prompts))
        for temperature in self.options.temperatures:
            found = self._attempt(decoding, prompts, rows, temperature or 0.0, timestamps=timestamps)
            doubtful = {row: self._is_doubtful(decoding, row, prompts[row], found[row], timestamps) for row in found}
            for row, tokens in found.items():
                is_silence = doubtful[row] and silence is not None and bool(silence[row])
                answers[row] = _Answer(tokens, temperature or 0.0, is_silence)
            rows = np.array(
                [r for r in found if not answers[r].is_silence and (doubtful[r] or self._repeats(found[r]))], int
            )
            if not len(rows):
                break
        return [answers[row] for row in range(len(prompts))]

    def _attempt(
        self, decoding: Decoding, prompts: list[np.ndarray], rows: np.ndarray, temperature: float, *, timestamps: bool
    ) -> dict[int, list[int]]:
        """Return the answers of some rows, up to and with the token that ends them."""
        decoding = decoding.clone()
        if len(rows) < len(prompts):
            decoding.select(rows)
        asked = [prompts[row] for row in rows]
        longest = max(map(len, asked))
        config = self.config.updated(
            do_sample=temperature > 0,
            temperature=temperature or None,
            num_beams=1 if temperature > 0 else self.config.num_beams,
            max_new_tokens=self._limit(longest),
            max_length=None,
        )
        generated = generate(decoding, asked, config, processors=self._rules(longest, timestamps=timestamps))
        sequences = zip(rows.tolist(), asked, generated.sequences, strict=True)
        return {row: tokens[len(prompt) :].tolist() for row, prompt, tokens in sequences}

    def _rules(self, begin: int, *, timestamps: bool) -> list[Processor]:
        """Return what keeps timestamps in pairs and in order, after a prompt of `begin` tokens."""
        if not timestamps or self.settings.no_timestamps is None:
            return []
        return [
            whisper_timestamps(
                no_timestamps=self.settings.no_timestamps,
                eos=self.settings.end,
                begin_index=begin,
                max_initial=self.settings.max_initial_timestamp,
            )
        ]

    def _is_doubtful(
        self, decoding: Decoding, row: int, prompt: np.ndarray, tokens: list[int], timestamps: bool
    ) -> bool:
        """Tell whether an answer's tokens are too unlikely on average, of those that were allowed."""
        threshold = self.options.logprob_threshold
        if threshold is None:
            return False
        decoding = decoding.clone()
        decoding.select(np.array([row]))
        ids = np.concatenate([prompt, np.array(tokens, np.int64)])[None]
        logits = decoding.append(ids[:, :-1], keep=len(tokens))[0].astype(np.float32)
        logits[:, list(self.config.suppress_tokens or ())] = -np.inf
        logits[0, list(self.config.begin_suppress_tokens or ())] = -np.inf
        for rule in self._rules(len(prompt), timestamps=timestamps):
            for step in range(len(tokens)):
                logits[step] = rule(ids[:, : len(prompt) + step], logits[step : step + 1])[0]
        highest = logits.max(axis=1)
        totals = np.log(np.exp(logits - highest[:, None]).sum(axis=1)) + highest
        return float((logits[np.arange(len(tokens)), tokens] - totals).mean()) < threshold

    def _limit(self, prompt: int) -> int:
        """Return how many tokens may be written after a prompt; UsageError if there is no room for them."""
        positions, longest, wanted = self.settings.positions, self.config.max_length, self.config.max_new_tokens
        room = positions - prompt
        if wanted is None:  # of the prompt, what was told before does not count
            wanted = room if longest is None else min(longest + min(positions // 2 - 1, prompt) - prompt, room)
        elif wanted <= positions:  # model cards ask for all positions: the answer ends at the last one
            wanted = min(wanted, room)
        if not 0 < wanted <= room:
            raise UsageError(
                f"max_new_tokens={wanted} after a prompt of {prompt} tokens does not fit the {positions} positions "
                "of this model: lower max_new_tokens, or shorten prompt_ids"
            )
        return math.ceil(wanted)

    def _silence(self, decoding: Decoding, prompts: list[np.ndarray]) -> np.ndarray | None:
        """Return whether the model hears nobody speak, bool [rows], as it says before it reads any text."""
        threshold, token = self.options.no_speech_threshold, self.settings.no_timestamps
        if threshold is None or token is None:
            return None
        starts = [prompt[: 1 + np.flatnonzero(prompt == self.settings.start)[-1]] for prompt in prompts]
        logits = decoding.clone().append(starts)[:, -1].astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds[:, token - 1] / odds.sum(axis=1) > threshold

    def _repeats(self, tokens: list[int]) -> bool:
        """Tell whether tokens repeat themselves: whether they compress too well."""
        threshold = self.options.compression_ratio_threshold
        if threshold is None:
            return False
        width = int(np.log2(self.settings.vocabulary) / 8) + 1
        plain = b"".join(token.to_bytes(width, "little") for token in tokens)
        return len(plain) / len(zlib.compress(plain)) > threshold

    def _times(
        self, active: list[_Progress], windows: np.ndarray, prompts: list[np.ndarray], answers: list[_Answer]
    ) -> list[np.ndarray]:
        """Return where the tokens of each answer end, in seconds from the window's start."""
        fed = [[*prompt.tolist(), *answer.tokens[:-1]] for prompt, answer in zip(prompts, answers, strict=True)]
        longest = max(map(len, fed))
        tokens = np.array([row + [self.settings.end] * (longest - len(row)) for row in fed], np.int64)
        attention = self.model.alignment(windows, tokens)
        return [
            token_times(
                attention[row, :, len(prompts[row]) : len(fed[row])],
                frames=each.recording.frames - each.seek,
                filter_width=self.settings.median_filter_width,
            )
            for row, each in enumerate(active)
        ]
