"""What Whisper's decoder is told before it transcribes: language, task, timestamps or none, and text before it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from ...errors import UsageError
from ...processing.audio.whisper_languages import language_token

CONDITIONS = ("first-segment", "all-segments")
TASKS = ("transcribe", "translate")
_NEEDED = ("decoder_start_token_id", "eos_token_id", "max_source_positions", "max_target_positions", "vocab_size")


@dataclass(frozen=True, kw_only=True)
class WhisperSettings:
    """What a checkpoint says of itself: ids of the tokens that steer it, its languages and tasks, its sizes.

    `window` is the frames of features that the encoder takes, `positions` the tokens that the decoder holds.
    """

    start: int
    end: int
    window: int
    positions: int
    vocabulary: int
    no_timestamps: int | None = None
    previous: int | None = None
    languages: Mapping[str, int] = field(default_factory=dict)
    tasks: Mapping[str, int] = field(default_factory=dict)
    is_multilingual: bool | None = None
    forced: Sequence[int | None] = ()
    return_timestamps: bool = False
    max_initial_timestamp: int | None = None
    median_filter_width: int = 7
    has_alignment: bool = False

    @classmethod
    def from_mappings(cls, config: Mapping[str, Any], generation_config: Mapping[str, Any]) -> Self:
        """Return the settings of a checkpoint's `config.json` and `generation_config.json`; UsageError if one lacks."""
        given: dict[str, Any] = {name: config.get(name) for name in ("decoder_start_token_id", "eos_token_id")}
        given |= {name: value for name, value in generation_config.items() if value is not None}
        for name in _NEEDED:
            if given.get(name, config.get(name)) in (None, []):
                raise UsageError(
                    f"this Whisper checkpoint has no '{name}': add it to its configuration and export again"
                )
        end, suppressed = given["eos_token_id"], given.get("suppress_tokens") or ()
        return cls(
            start=given["decoder_start_token_id"],
            end=end[0] if isinstance(end, (list, tuple)) else end,
            window=2 * config["max_source_positions"],  # the encoder's second convolution has a stride of two
            positions=config["max_target_positions"],
            vocabulary=config["vocab_size"],
            no_timestamps=given.get("no_timestamps_token_id"),
            # Old checkpoints do not name it; there it is the last token but one of those that are never written.
            previous=given.get("prev_sot_token_id", suppressed[-2] if len(suppressed) >= 2 else None),
            languages=given.get("lang_to_id") or {},
            tasks=given.get("task_to_id") or {},
            is_multilingual=given.get("is_multilingual"),
            forced=_forced(given.get("forced_decoder_ids") or config.get("forced_decoder_ids") or ()),
            return_timestamps=bool(given.get("return_timestamps")),
            max_initial_timestamp=given.get("max_initial_timestamp_index"),
            median_filter_width=config.get("median_filter_width", 7),
            has_alignment=bool(given.get("alignment_heads")),
        )

    @property
    def timestamp_begin(self) -> int:
        """The token of 0.00 s; beyond the vocabulary where the checkpoint has no timestamps."""
        return self.vocabulary + 1 if self.no_timestamps is None else self.no_timestamps + 1


@dataclass(frozen=True, kw_only=True)
class TranscriptionOptions:
    """How to transcribe; the names are transformers' own, None means what the checkpoint says or nothing.

    `language` is that of every recording, or a list of one for each recording of a batch.

    UsageError: a value that cannot be right.
    """

    return_timestamps: bool | str | None = None
    language: str | Sequence[str] | None = None
    task: str | None = None
    is_multilingual: bool | None = None
    prompt_ids: Sequence[int] | np.ndarray | None = None
    prompt_condition_type: str | None = None
    condition_on_prev_tokens: bool | None = None
    temperature: float | Sequence[float] | None = None
    compression_ratio_threshold: float | None = None
    logprob_threshold: float | None = None
    no_speech_threshold: float | None = None

    def __post_init__(self) -> None:
        condition = self.prompt_condition_type
        if condition not in (None, *CONDITIONS):
            raise UsageError(f"prompt_condition_type={condition!r}; allowed: {', '.join(map(repr, CONDITIONS))}")
        if condition == "all-segments" and not self.condition_on_prev_tokens:
            raise UsageError("prompt_condition_type='all-segments' needs condition_on_prev_tokens=True: pass both")
        if self.no_speech_threshold is not None and self.logprob_threshold is None:
            raise UsageError("no_speech_threshold is only asked where logprob_threshold fails: pass both")
        if not self.temperatures or any(each is not None and not 0 <= each < np.inf for each in self.temperatures):
            raise UsageError(f"temperature must be a number from 0 up or some of them, got {self.temperature!r}")
        if self.language is not None and not (self.languages and all(isinstance(each, str) for each in self.languages)):
            raise UsageError(f"language must be a text, such as 'french', or a list of them, got {self.language!r}")

    def completed(self, generation_config: Mapping[str, Any]) -> Self:
        """Return the options with the checkpoint's thresholds where none are given."""
        names = ("compression_ratio_threshold", "logprob_threshold", "no_speech_threshold", "condition_on_prev_tokens")
        return replace(self, **{n: generation_config.get(n) for n in names if getattr(self, n) is None})

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that are named."""
        given = self.language
        return tuple(given) if isinstance(given, (list, tuple)) else () if given is None else (given,)  # pyright: ignore[reportReturnType]

    def of(self, row: int, rows: int) -> Self:
        """Return the options of one recording of a batch; raise UsageError where its languages are more or fewer."""
        if self.language is None or isinstance(self.language, str):
            return self
        if len(self.languages) != rows:
            raise UsageError(
                f"language lists {len(self.languages)} languages for {rows} audio files at once: pass one text, or one "
                "for each file with batch_size= that many"
            )
        return replace(self, language=self.languages[row])

    @property
    def temperatures(self) -> tuple[float | None, ...]:
        """The temperatures to try, one after another."""
        given = self.temperature
        return tuple(given) if isinstance(given, (list, tuple)) else (given,)  # pyright: ignore[reportReturnType]


def check_options(options: TranscriptionOptions, settings: WhisperSettings) -> None:
    """Raise UsageError if the checkpoint cannot do what is asked."""
    is_multilingual = settings.is_multilingual if options.is_multilingual is None else options.is_multilingual
    for name in ("language", "task"):
        if getattr(options, name) is not None and is_multilingual is False:
            raise UsageError(f"this Whisper model is English-only and does not accept {name}: leave {name}= out")
    if options.language is not None:
        if not settings.languages:
            raise UsageError("this checkpoint's generation_config.json has no 'lang_to_id': leave language= out")
        for name in options.languages:
            language_token(name, settings.languages)
    if options.task is not None and (options.task not in TASKS or options.task not in settings.tasks):
        allowed = ", ".join(repr(task) for task in TASKS if task in settings.tasks) or "none with this checkpoint"
        raise UsageError(f"task={options.task!r}; allowed: {allowed}")
    if options.return_timestamps and settings.no_timestamps is None:
        raise UsageError("this checkpoint's generation_config.json has no 'no_timestamps_token_id': no timestamps")
    if options.return_timestamps == "word" and not settings.has_alignment:
        raise UsageError("this checkpoint's generation_config.json has no 'alignment_heads': no times of words")


def detects_language(options: TranscriptionOptions, settings: WhisperSettings) -> bool:
    """Tell whether the model is asked which language it hears."""
    forced = settings.forced if options.task is None else ()
    return options.language is None and bool(settings.languages) and not (forced and forced[0] is not None)


def initial_tokens(
    options: TranscriptionOptions, settings: WhisperSettings, *, timestamps: bool, detected: int | None
) -> list[int]:
    """Return the tokens that every window's transcript starts with: start, language, task, no timestamps.

    `options` are those of one recording.
    """
    tokens: list[int | None] = [settings.start]
    if options.task is None and options.language is None:
        tokens += settings.forced
    language = detected
    if options.language is not None:
        language = settings.languages[language_token(options.languages[0], settings.languages)]
    if language is not None:
        tokens[1:2] = [language]
    if options.task is not None:
        tokens.append(settings.tasks[options.task])
    elif options.language is not None and "transcribe" in settings.tasks:
        tokens.append(settings.tasks["transcribe"])
    if tokens[-1] == settings.no_timestamps and timestamps:
        tokens.pop()
    elif settings.no_timestamps is not None and not timestamps and tokens[-1] != settings.no_timestamps:
        tokens.append(settings.no_timestamps)
    return [token for token in tokens if token is not None]


def _forced(pairs: Sequence[Sequence[int | None]]) -> list[int | None]:
    """Return the old way to say language and task, `[[1, language], [2, task]]`, as a list of tokens."""
    given = {place: token for place, token in pairs}  # noqa: C416 - dict() would lose the types
    places = range(1, len(given) + 1)
    return [given[place] for place in places] if set(given) == set(places) else []
