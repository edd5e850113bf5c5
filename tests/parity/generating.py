"""Both sides of text generation: a bundle that generates by PyTorch, as the fake at the seam; a llama that chats."""

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers

from tests.checkpoints import TOKENIZERS
from tests.runtime.generation.torch_decoding import TorchDecoding
from tests.tiny_models import tiny_llama
from tests.tokenizers_tiny import tiny_tokenizer
from vitrify.export.processors.tokenizer import write_tokenizer
from vitrify.runtime.generation.base import Decoding
from vitrify.runtime.generation.config import GenerationConfig
from vitrify.runtime.generation.generated import Generated
from vitrify.runtime.generation.loop import generate
from vitrify.runtime.pipelines.text_generation import TextGenerationPipeline
from vitrify.runtime.processing.chat.templates import ChatTemplates
from vitrify.runtime.processing.text.tokenizer import Tokenizer

TASK = "text-generation"
CONTEXT = 1000
TEMPLATES = Path(__file__).parents[1] / "runtime" / "processing" / "chat" / "templates"
TEMPLATE = (TEMPLATES / "qwen.jinja").read_text(encoding="utf-8")
GREEDY = {"do_sample": False, "max_new_tokens": 6}

TEXTS = ["My name is Sarah", "a", "El niño comió 東京", "What is the capital of France? Paris"]
USER = {"role": "user", "content": "What is it?"}
CHAT = [{"role": "system", "content": "Be kind."}, USER]
PREFILLED = [USER, {"role": "assistant", "content": "It is "}]
SCHEMA = {"type": "function", "function": {"name": "look", "description": "Look", "parameters": {}}}


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


def chatting_llama(folder: Path) -> tuple[Any, Any, Path]:
    """Return a seeded model, transformers' tokenizer, and the folder that both of their files are written to."""
    torch.set_num_threads(1)
    tokenizer = tiny_tokenizer(TOKENIZERS["gpt2"], model_max_length=CONTEXT)
    tokenizer.chat_template = TEMPLATE
    tokenizer.pad_token = None
    model = tiny_llama(tokenizer, CONTEXT)
    write_tokenizer(tokenizer, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return model, tokenizer, folder


def generating_pair(made: tuple[Any, Any, Path], *, says: Mapping[str, Any] | None = None, **options: Any) -> Any:
    """Return (our pipeline, transformers'), with what the model's generation config says beside its tokens."""
    model, tokenizer, folder = made
    model = copy.copy(model)
    tokens = {name: getattr(model.config, name) for name in ("bos_token_id", "eos_token_id")}
    model.generation_config = transformers.GenerationConfig(**{**tokens, **(says or {})})
    theirs = transformers.pipeline(TASK, model=model, tokenizer=copy.deepcopy(tokenizer), device="cpu", **options)
    return TextGenerationPipeline(TorchBundle(model, folder), task=TASK, **options), theirs
