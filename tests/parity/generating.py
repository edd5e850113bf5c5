"""A bundle that generates by PyTorch: the fake at the seam between the pipelines that generate and the token loop."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.runtime.generation.torch_decoding import TorchDecoding
from vitrify.runtime.generation.base import Decoding
from vitrify.runtime.generation.config import GenerationConfig
from vitrify.runtime.generation.loop import Generated, generate
from vitrify.runtime.processing.chat import ChatTemplates
from vitrify.runtime.processing.text import Tokenizer


class TorchBundle:
    """A decoder-only model as a loaded bundle; it remembers the prompts and arguments of each batch."""

    def __init__(self, model: Any, folder: Path) -> None:
        self.name = folder.name
        self.profile = SimpleNamespace(name="cpu-fp32")
        self.batches: list[int] = []
        self.given: list[Mapping[str, Any]] = []
        self._model, self._folder = model, folder

    @cached_property
    def tokenizer(self) -> Any:
        tokenizer = Tokenizer.from_folder(self._folder)
        tokenizer.chat_templates = ChatTemplates.from_folder(self._folder)
        return tokenizer

    @property
    def config(self) -> Mapping[str, Any]:
        return self._model.config.to_dict()

    @property
    def generation_config(self) -> Mapping[str, Any]:
        return self._model.generation_config.to_diff_dict()

    def decoding(self) -> Decoding:
        return TorchDecoding(self._model)

    def generate_rows(self, prompts: Sequence[np.ndarray], given: Mapping[str, Any]) -> Generated:
        self.batches.append(len(prompts))
        self.given.append(given)
        fields = {name: value for name, value in given.items() if name in GenerationConfig.names()}
        config = GenerationConfig.from_mapping(self.generation_config).updated(**fields)
        streamer = given.get("streamer")
        return generate(self.decoding(), prompts, config, streamer=streamer, tokenizer=self.tokenizer)
