"""Tiny seeded checkpoints of every model type and head under test, made from `checkpoints.toml`, without vitrify."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto import modeling_auto

from .sentencepieces_tiny import MAKERS
from .tokenizers_tiny import Recipe, tiny_tokenizer

POSITIONS = 128
_IN_CONFIG = ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


@dataclass(frozen=True)
class Head:
    """A row of `[heads]`: the auto class that loads it, transformers' table of the classes that have it, its labels."""

    auto: str
    mapping: str
    labels: tuple[str, ...]

    @property
    def auto_class(self) -> Any:
        return getattr(transformers, self.auto)

    @property
    def architectures(self) -> Mapping[str, str]:
        """transformers' class with this head, by model type; the first where it has several."""
        rows = getattr(modeling_auto, self.mapping).items()
        return {model_type: name if isinstance(name, str) else name[0] for model_type, name in rows}


@dataclass(frozen=True)
class Spread:
    """How far drawn weights spread.

    `matrix` is the gain over 1/sqrt(fan in), `embedding` and `rest` are standard deviations, `tied` is a factor on the
    token embeddings that are the head too, and `settled` says how far the running statistics of batch norms go from
    (0, 1) to those of a drawn batch.
    """

    matrix: float = 1.0
    embedding: float = 1.0
    rest: float = 0.2
    tied: float = 1.0
    settled: float = 1.0


@dataclass(frozen=True)
class ModelType:
    """A row of `[types]`; the comment at the head of `checkpoints.toml` says what each field means."""

    heads: tuple[str, ...]
    config: Mapping[str, Any]
    tokenizer: str | None = None
    processor: Mapping[str, Any] | None = None
    shortest: int = 1
    weights: Spread = field(default_factory=Spread)
    model_type: str | None = None
    vocabulary: str | None = None
    generation: Mapping[str, Any] = field(default_factory=dict)
    draw: int = 0


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name(name).read_text())


def _heads(rows: dict[str, Any]) -> dict[str, Head]:
    return {name: Head(**{**row, "labels": tuple(row["labels"])}) for name, row in rows["heads"].items()}


def _types(rows: dict[str, Any]) -> dict[str, ModelType]:
    return {name: _model_type(row) for name, row in rows["types"].items()}


def _tokenizers(rows: dict[str, Any]) -> dict[str, Recipe]:
    return {name: _recipe(row) for name, row in rows["tokenizers"].items()}


def _pairs(types: Mapping[str, ModelType]) -> tuple[tuple[str, str], ...]:
    return tuple((model_type, head) for model_type, row in types.items() for head in row.heads)


def _model_type(row: dict[str, Any]) -> ModelType:
    return ModelType(**{**row, "heads": tuple(row["heads"]), "weights": Spread(**row.get("weights", {}))})


def _recipe(row: dict[str, Any]) -> Recipe:
    tokens = {end: tuple(row.get(end, ())) for end in ("first", "last", "added")}
    return Recipe(cls=row["class"], **{**{key: row[key] for key in row if key != "class"}, **tokens})


_ROWS, _GENERATIVE = _read("checkpoints.toml"), _read("generators.toml")
HEADS, GENERATIVE_HEADS = _heads(_ROWS), _heads(_GENERATIVE)
TYPES, GENERATORS = _types(_ROWS), _types(_GENERATIVE)
TOKENIZERS, GENERATIVE_TOKENIZERS = _tokenizers(_ROWS), _tokenizers(_GENERATIVE)
_RECIPES = TOKENIZERS | GENERATIVE_TOKENIZERS
PAIRS, GENERATIVE_PAIRS = _pairs(TYPES), _pairs(GENERATORS)


def make_checkpoint(model_type: str, head: str, folder: Path, *, seed: int = 0) -> Path:
    """Write a complete checkpoint into `folder` and return it; the same seed gives the same bytes.

    The weights are drawn wide enough that two inputs, or a dropped attention mask, move every output by more than 0.01.
    """
    row = (GENERATORS if head in GENERATIVE_HEADS else TYPES)[model_type]
    facts = _write_tokenizer(row, folder) if row.tokenizer else {}
    if row.processor:
        _write_processor(row.processor, folder)
    in_config = {name: facts[name] for name in _IN_CONFIG if name in facts}
    model = _seeded_model(row.model_type or model_type, (HEADS | GENERATIVE_HEADS)[head], row, in_config, seed=seed)
    if head in GENERATIVE_HEADS:
        generation = {name: value for name, value in facts.items() if name != "vocab_size"}
        model.generation_config = transformers.GenerationConfig(**generation)
    model.save_pretrained(folder)
    return folder


def _seeded_model(model_type: str, head: Head, row: ModelType, facts: Mapping[str, Any], *, seed: int) -> Any:
    config = {**row.config, **_labels(head)}
    if row.vocabulary:
        config[row.vocabulary] = {**facts, **config[row.vocabulary]}
    else:
        config = {**facts, **config}
    architecture = getattr(transformers, head.architectures[model_type])
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed + row.draw)
        model = architecture(transformers.AutoConfig.for_model(model_type, **config)).eval()
        spread_weights(model, row.weights)
        settle_batch_norms(model, row.weights)
    return model


@torch.no_grad()
def spread_weights(model: torch.nn.Module, spread: Spread) -> None:
    """Redraw the weights of `model` in place, by kind of module, from torch's global generator.

    A default-initialised tiny model barely reacts to its input: a standard deviation of 0.02 suits widths of 768.
    """
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.ndim < 2:
                parameter.add_(torch.randn_like(parameter), alpha=spread.rest)
            elif isinstance(module, torch.nn.Embedding):
                parameter.normal_(std=spread.embedding)
            elif name == "weight":
                parameter.normal_(std=spread.matrix / math.sqrt(parameter[0].numel()))
            else:
                parameter.normal_(std=spread.rest)
    if spread.tied != 1.0:
        # A token that is close to its own embedding in the head follows itself for ever.
        model.get_output_embeddings().weight.mul_(spread.tied)


@torch.no_grad()
def settle_batch_norms(model: torch.nn.Module, spread: Spread) -> None:
    """Move the running statistics of `model` to those of one drawn batch of images, as training would.

    Without it a deep stack of them shrinks the signal to nothing: mobilevit's output did not depend on its input.
    """
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.train().momentum = spread.settled
    model(torch.randn(8, 3, 64, 64))
    model.eval()


def _write_tokenizer(row: ModelType, folder: Path) -> dict[str, Any]:
    """Write the tokenizer and return what config and generation config know of it."""
    if row.tokenizer in _RECIPES:
        tokenizer = tiny_tokenizer(_RECIPES[row.tokenizer], model_max_length=POSITIONS)
        tokenizer.save_pretrained(folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        MAKERS[row.tokenizer](folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if tokenizer.is_fast:
            tokenizer.save_pretrained(folder)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    return {
        "vocab_size": len(tokenizer),
        **ids,
        **{name: _resolved(row.generation[name], tokenizer) for name in row.generation},
    }


def _resolved(value: Any, tokenizer: Any) -> Any:
    """Return the token ids that stand for tokens, in lists and tables too."""
    match value:
        case str():
            return tokenizer.convert_tokens_to_ids(value)
        case list():
            return [_resolved(item, tokenizer) for item in value]
        case dict():
            return {name: _resolved(item, tokenizer) for name, item in value.items()}
    return value


def _write_processor(processor: Mapping[str, Any], folder: Path) -> None:
    arguments = dict(processor)
    getattr(transformers, arguments.pop("class"))(**arguments).save_pretrained(folder)


def _labels(head: Head) -> dict[str, Any]:
    if not head.labels:
        return {}
    return {"id2label": dict(enumerate(head.labels)), "label2id": {name: i for i, name in enumerate(head.labels)}}
