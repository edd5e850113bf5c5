"""image-to-text: what an encoder-decoder writes about an image, as the task of transformers 4.57 had it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from ..errors import UsageError
from ..generation.prompts import first_tokens
from .results import GeneratedText
from .shared.generation import GENERATION_NAMES, Answers, GenerationParameters, GenerationPipeline, arguments_in
from .shared.image import ImagePipeline
from .shared.pieces import Piece


@dataclass(frozen=True)
class ImageToTextParameters(GenerationParameters):
    """`prompt`: what the answer begins with; `timeout`: seconds that the download of an image may take.

    `generate_kwargs` are arguments of generation too, which may also be given by themselves.
    """

    prompt: str | None = None
    timeout: float | None = None
    generate_kwargs: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.prompt is not None and not isinstance(self.prompt, str):
            raise UsageError(f"prompt must be one text for all images, got a {type(self.prompt).__name__}")

    def updated(self, task: str, options: Mapping[str, Any]) -> Self:
        """Return the parameters with `options` over them; an argument in and beside `generate_kwargs` is an error."""
        given = arguments_in(task, options, GENERATION_NAMES, alone_wins=False)
        if alien := sorted(set(given) - GENERATION_NAMES):
            raise UsageError(f"unknown generation argument '{alien[0]}' in generate_kwargs")
        return super().updated(task, {**options, **given})


class ImageToTextPipeline(
    ImagePipeline[list[GeneratedText], list[GeneratedText]],
    GenerationPipeline[list[GeneratedText], list[GeneratedText]],
):
    """`(images, prompt=, **generation)` -> [{"generated_text"}], `num_return_sequences` of them."""

    parameters = ImageToTextParameters
    defaults: ClassVar[Mapping[str, Any]] = {"max_new_tokens": 256}

    def pieces(self, item: Any, parameters: Any) -> Iterator[Piece]:
        """Yield the image as the encoder takes it."""
        yield self.image_piece(item, timeout=parameters.timeout, settings={})

    def result(
        self,
        pieces: Sequence[Piece],  # noqa: ARG002 - an answer does not repeat its image
        outputs: Sequence[Any],
        parameters: Any,  # noqa: ARG002 - all of them went into generation
    ) -> list[dict[str, Any]]:
        """Return a record for each sequence of the one image."""
        sequences = outputs[0].sequences
        return [{"generated_text": self.tokenizer.decode(each, skip_special_tokens=True)} for each in sequences]

    def _run(self, pending: Sequence[tuple[Piece, list[Any]]], parameters: Any) -> None:
        given = self.arguments(parameters)
        prompts = self._prompts(parameters.prompt, given, len(pending)) if parameters.prompt else []
        shapes = {tuple(array.shape for array in piece.feeds.values()) for piece, _ in pending}
        if len(shapes) > 1:  # images that the processor leaves at their own sizes share no batch
            for one in pending:
                self._run([one], parameters)
            return
        features = {name: np.stack([piece.feeds[name] for piece, _ in pending]) for name in pending[0][0].feeds}
        made = self.loaded.generate_rows(prompts, given, features=features)
        share = len(made.sequences) // len(pending)
        for index, (_, outputs) in enumerate(pending):
            own = slice(index * share, (index + 1) * share)
            outputs.append(Answers(made.sequences[own], made.prompt_lengths[own]))

    def _prompts(self, text: str, given: Mapping[str, Any], rows: int) -> list[np.ndarray]:
        """Return what each row's answer begins with, int64 [tokens]; nothing for a text without tokens."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"][0]
        encoder = (self.config.get("encoder") or {}).get("model_type")
        settings = {**self.loaded.generation_config, **given}
        return _BEGINNINGS.get(encoder, _after_start)(ids, settings, rows) if len(ids) else []


def _after_start(ids: np.ndarray, settings: Mapping[str, Any], rows: int) -> list[np.ndarray]:
    """Return the start token and the prompt, or the prompt alone where it has that token already."""
    names = ("decoder_start_token_id", "bos_token_id")
    usual = next((settings[name] for name in names if settings.get(name) is not None), None)
    firsts = first_tokens(usual, names[0], rows)
    return [ids if ids[:1].tolist() == first.tolist() else np.append(first, ids) for first in firsts]


def _alone(ids: np.ndarray, _settings: Mapping[str, Any], rows: int) -> list[np.ndarray]:
    return [ids] * rows


# By the type of an encoder that is nested in the config: how a prompt begins an answer where it does not follow the
# start token. Donut's is a task, "<s_docvqa>", and stands for it; so it is in transformers' generate() too.
_BEGINNINGS: Mapping[str | None, Callable[[np.ndarray, Mapping[str, Any], int], list[np.ndarray]]] = {
    "donut-swin": _alone,
}
