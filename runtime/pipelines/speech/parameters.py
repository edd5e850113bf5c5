"""What every task of speech recognition may be asked for; knows no model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from ...generation.config import GenerationConfig
from ..shared.audio import AudioParameters
from ..shared.generation import arguments_in


@dataclass(frozen=True)
class RecognitionParameters(AudioParameters):
    """Generation's arguments, by themselves or in `generate_kwargs`, beside those of every recording.

    `ignore_warning`, and the `decoder_kwargs` of a language model beside a CTC model, are accepted without effect.
    """

    # Names that generation takes beside those of a generation config.
    beside: ClassVar[tuple[str, ...]] = ()

    return_timestamps: bool | str | None = None
    return_language: bool | None = None
    ignore_warning: bool | None = None
    decoder_kwargs: Mapping[str, Any] | None = None
    generate_kwargs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The arguments that the task takes."""
        own = super().names()
        return (*own, *(name for name in cls._generation_names() if name not in own))

    @classmethod
    def _generation_names(cls) -> tuple[str, ...]:
        return (*cls.beside, *(name for name in GenerationConfig.names() if name not in cls.beside))

    def updated(self, task: str, options: Mapping[str, Any]) -> Self:
        """Return the parameters with `options` over them; generation's arguments go to `generate_kwargs`."""
        names = self._generation_names()
        given = arguments_in(task, options, names, alone_wins=True)
        own = {name: value for name, value in options.items() if name not in names}
        return super().updated(task, own | {"generate_kwargs": {**self.generate_kwargs, **given}})
