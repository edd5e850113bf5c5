"""Tiny seeded checkpoints that sentence-transformers itself writes, by the modules after their transformer."""

import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules

from tests.checkpoints import make_checkpoint
from tests.tiny_models import seeded

logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
SIZE = 32
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
PROMPTS = {"query": "My name is London: ", "document": "the fox: ", "passage": "dog "}


def pooled(*modes: str, include_prompt: bool = True) -> Any:
    """Return a pooling of the tiny BERT's states."""
    kinds: Any = modes
    return modules.Pooling(SIZE, kinds, include_prompt=include_prompt)


def dense(size: int, out: int, **options: Any) -> Any:
    """Return a seeded Dense."""
    torch.manual_seed(size + out)
    return modules.Dense(size, out, **options)


def normed(size: int) -> Any:
    """Return a LayerNorm whose scale and shift do something."""
    layer = modules.LayerNorm(size)
    with torch.no_grad():
        layer.norm.weight.copy_(torch.linspace(0.5, 2, size))
        layer.norm.bias.copy_(torch.linspace(-1, 1, size))
    return layer


def asymmetric() -> Any:
    """Return a router that sends queries another way than documents."""
    router: Any = modules.Router
    return router.for_query_document(query_modules=[dense(SIZE, 16)], document_modules=[dense(SIZE, 16, bias=False)])


AFTER: Mapping[str, Callable[[], list[Any]]] = {
    **{mode: lambda mode=mode: [pooled(mode)] for mode in MODES},
    **{f"{mode} without prompt": lambda mode=mode: [pooled(mode, include_prompt=False)] for mode in MODES},
    "every mode": lambda: [pooled(*MODES), modules.Normalize()],
    "dense": lambda: [pooled("mean"), dense(SIZE, 16), modules.Normalize()],
    "identity": lambda: [pooled("mean"), dense(SIZE, 16, bias=False, activation_function=torch.nn.Identity())],
    "residual": lambda: [pooled("cls"), dense(SIZE, SIZE, activation_function=torch.nn.GELU(), use_residual=True)],
    "projected": lambda: [pooled("cls"), dense(SIZE, 24, use_residual=True)],
    "tokens": lambda: [
        dense(SIZE, SIZE, module_input_name="token_embeddings"),
        modules.Normalize(module_input_name="token_embeddings"),
        pooled("mean"),
    ],
    "layer norm": lambda: [pooled("max", "mean"), normed(2 * SIZE)],
    "router": lambda: [pooled("mean"), asymmetric(), modules.Normalize()],
}
"""The modules that follow the tiny transformer, by what they are of."""

UNSUPPORTED: Mapping[str, Callable[[], Any]] = {
    "Dropout": lambda: modules.Dropout(0.1),
    "WeightedLayerPooling": lambda: modules.WeightedLayerPooling(SIZE, num_hidden_layers=2, layer_start=1),
    "WordWeights": lambda: modules.WordWeights(["a"], {"a": 1.0}),
    "CNN": lambda: modules.CNN(SIZE, SIZE, [1]),
    "LSTM": lambda: modules.LSTM(SIZE, SIZE // 2),
}
"""Modules that vitrify names and refuses."""


def make_body(folder: Path, model_type: str = "bert", head: str = "base") -> Path:
    """Write the tiny transformer that the checkpoints share."""
    return make_checkpoint(model_type, head, folder)


def make_sentences(body: Path, folder: Path, after: list[Any], *, longest: int | None = None, **settings: Any) -> Path:
    """Write the checkpoint of a body and the modules after it, as `SentenceTransformer.save` does."""
    transformer = modules.Transformer(str(body), max_seq_length=longest)
    with contextlib.redirect_stdout(None):
        model = SentenceTransformer(modules=[transformer, *after], device="cpu", **settings)
        model.save(str(folder), create_model_card=False)
    return folder


def make_ranker(folder: Path, **settings: Any) -> Path:
    """Write a seeded cross-encoder with one label; `settings` are those of its config."""
    made = make_checkpoint("bert", "sequence-classification", folder)
    config = transformers.AutoConfig.from_pretrained(made, id2label={0: "LABEL_0"}, label2id={"LABEL_0": 0})
    config.update(settings)
    seeded(transformers.BertForSequenceClassification, config).save_pretrained(made)
    return made


def nested(folder: Path, target: Path) -> Path:
    """Copy a checkpoint in the layout of early releases: the transformer in a folder of its own."""
    listing = json.loads((folder / "modules.json").read_text())
    own = target / "0_Transformer"
    own.mkdir(parents=True)
    kept = {"modules.json", "config_sentence_transformers.json", *(row["path"].split("/")[0] for row in listing[1:])}
    for path in folder.iterdir():
        path_to = target if path.name in kept else own
        (path_to / path.name).symlink_to(path)
    listing[0]["path"] = "0_Transformer"
    (target / "modules.json").unlink()
    (target / "modules.json").write_text(json.dumps(listing))
    return target
