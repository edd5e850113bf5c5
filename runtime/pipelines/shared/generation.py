"""What the pipelines that generate share: the arguments of generation, whose value wins, and rows that run together.

It knows no task and no loop: `LoadedBundle.generate_rows` makes the tokens.
"""

import dataclasses
import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ...errors import UsageError
from ...generation.config import CALL_NAMES, CONFIG_NAMES, entries_of
from ...generation.streaming import TextStreamer
from .base import Each, Parameters, Single
from .pieces import Piece
from .text import TextPipeline

if TYPE_CHECKING:
    from ...generation.generated import Generated

# A pipeline's defaults for these hold only where tokens are sampled.
_SAMPLING = frozenset({"temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"})
# The arguments that every task which generates takes.
GENERATION_NAMES = CONFIG_NAMES | CALL_NAMES | {"generation_config"}


@dataclass(frozen=True)
class GenerationParameters(Parameters):
    """Base of the parameters of a task that generates: its fields are arguments, and so is all that generation takes.

    `generation` collects the latter as they were given, None included. An argument that is a field too reaches both.
    """

    generation: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The arguments that the task takes: its own, then those of generation."""
        own = [name for name in super().names() if name != "generation"]
        return (*own, *sorted(GENERATION_NAMES - set(own)))

    def updated(self, task: str, options: Mapping[str, Any]) -> Self:
        """Return the parameters with `options` over them; raise UsageError for one that the task does not take.

        A `generation_config` replaces the fields of one that were given before it.
        """
        allowed = self.names()
        if unknown := sorted(set(options) - set(allowed)):
            close = difflib.get_close_matches(unknown[0], allowed, 1)
            hint = f"Did you mean '{close[0]}'?" if close else f"It accepts: {', '.join(allowed)}"
            raise UsageError(f"'{task}' got an unknown argument '{unknown[0]}'. {hint}")
        given = {name: value for name, value in options.items() if name in GENERATION_NAMES}
        kept = dict(self.generation)
        if given.get("generation_config") is not None:
            kept = {name: value for name, value in kept.items() if name not in CONFIG_NAMES}
        own = {item.name for item in dataclasses.fields(self)}
        mine = super().updated(task, {name: value for name, value in options.items() if name in own})
        return dataclasses.replace(mine, generation={**kept, **given})


def arguments_in(task: str, options: Mapping[str, Any], names: Collection[str], *, alone_wins: bool) -> dict[str, Any]:
    """Return generation's arguments, of those `names`, that stand in `generate_kwargs` and by themselves.

    Of a name that is given both ways the one by itself counts where it `alone_wins`; else it is a UsageError, as is
    what is not a mapping. transformers' tasks differ in it.
    """
    more = options.get("generate_kwargs")
    if not isinstance(more, (Mapping, type(None))):
        raise UsageError(f"generate_kwargs must be a dict, got a {type(more).__name__}")
    more = more or {}
    alone = {name: value for name, value in options.items() if name in names}
    if not alone_wins and (twice := sorted(set(more) & set(alone))):
        raise UsageError(f"'{task}' got '{twice[0]}' twice: by itself and in generate_kwargs. Keep one")
    return {**more, **alone}


@dataclass(frozen=True)
class Answers:
    """What generation returned for one prompt.

    Attributes
    ----------
    sequences
        `num_return_sequences` of ids, each 1-D int64: the prompt, then the answer with its end token.
    prompt_lengths
        How many tokens of each sequence are its prompt; of an encoder-decoder, what its answers begin with.
    extras
        What was asked for beside each sequence, by name, as plain values: `scores` and `logits` [tokens][vocabulary],
        `sequences_scores`. Empty where nothing was.

    """

    sequences: Sequence[np.ndarray]
    prompt_lengths: Sequence[int]
    extras: Sequence[Mapping[str, Any]] = ()


class GenerationPipeline(TextPipeline[Single, Each]):
    """A task that generates: a piece's `input_ids` [tokens] are a prompt, and its output is the prompt's `Answers`.

    Prompts of several items run as one batch of rows of their own lengths, so no pad token is needed.
    """

    # What holds where neither the caller nor the model's generation config says otherwise.
    defaults: ClassVar[Mapping[str, Any]] = {}
    # What is drawn for a row depends on the rows before it, and rows that have ended leave their batch by themselves.
    reads_ahead: ClassVar[bool] = False

    def arguments(self, parameters: Any) -> dict[str, Any]:
        """Return what generation is asked for: the call over the pipeline over the model's config over the defaults.

        None takes back what the others say, as in transformers.
        """
        given = dict(parameters.generation)
        wished = entries_of(given.pop("generation_config", None))
        base = entries_of(self.loaded.generation_config) | wished
        return self._defaults_beside(base | given) | base | given

    def _defaults_beside(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the pipeline's defaults that the settings leave open."""
        added = {name: value for name, value in self.defaults.items() if name not in settings}
        if "max_length" in settings:  # new tokens would win over it
            added.pop("max_new_tokens", None)
        if self.tokenizer.pad_token_id is not None and "pad_token_id" not in settings:
            added["pad_token_id"] = self.tokenizer.pad_token_id
        samples = {**settings, **added}.get("do_sample")
        return {name: value for name, value in added.items() if samples or name not in _SAMPLING}

    @property
    def can_stream(self) -> bool:
        """Whether each answer is one text that is certain as it comes: no beams, no several sequences, no ids."""
        given = self.arguments(self.options)
        alone = all(given.get(name) in {None, 1} for name in ("num_beams", "num_return_sequences"))
        plain = not any(getattr(self.options, name, None) for name in ("return_tensors", "return_text"))
        return alone and plain and not given.get("return_dict_in_generate")

    def streamer(self) -> TextStreamer:
        """Return what writes the answers to standard output, each on lines of its own."""
        return TextStreamer(self.tokenizer, skip_prompt=True, every_token=True, skip_special_tokens=True)

    def called(self, inputs: Any, *args: Any, **options: Any) -> Any:
        """Run the task; an error reaches the reader of a streamer too, who would else wait for ever."""
        try:
            return super().called(inputs, *args, **options)
        except BaseException as error:
            streamer = options.get("streamer", self.options.generation.get("streamer"))
            if callable(fail := getattr(streamer, "fail", None)):
                fail(error)
            raise

    def _run(self, pending: Sequence[tuple[Piece, list[Any]]], parameters: GenerationParameters) -> None:
        prompts = [piece.feeds["input_ids"] for piece, _ in pending]
        given = self.arguments(parameters)
        made: Generated = self.loaded.generate_rows(prompts, given)
        share = len(made.sequences) // len(prompts)
        extras = _extras(made) if given.get("return_dict_in_generate") else []
        for index, (_, outputs) in enumerate(pending):
            own = slice(index * share, (index + 1) * share)
            outputs.append(Answers(made.sequences[own], made.prompt_lengths[own], extras[own]))


def _extras(made: "Generated") -> list[dict[str, Any]]:
    """Return the scores of each sequence as plain values, where every sequence has its own."""
    extras: list[dict[str, Any]] = [{} for _ in made.sequences]
    for name in ("scores", "logits"):
        steps = getattr(made, name)
        if steps is None or len(steps[0]) != len(extras):  # beams have scores of their own
            continue
        for index, (extra, sequence) in enumerate(zip(extras, made.sequences, strict=True)):
            own = len(sequence) - made.prompt_lengths[index]
            extra[name] = [step[index].tolist() for step in steps[:own]]
    if made.sequences_scores is not None:
        for extra, score in zip(extras, made.sequences_scores.tolist(), strict=True):
            extra["sequences_scores"] = score
    return extras
