"""Make `text2text.json`: what text2text-generation, summarization and translation of transformers 4.57.3 answer.

Transformers 5 has no such pipelines, so the goldens are made once, and again only when a checkpoint changes:

    python -m venv reference
    reference/bin/pip install torch==2.13.0 transformers==4.57.3 sentencepiece protobuf
    .venv/bin/python -m tests.goldens.make_text2text reference/bin/python

The first interpreter writes the checkpoints (they need transformers 5), the second one answers.
"""

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

GOLDENS = Path(__file__).with_name("text2text.json")
REFERENCE = "4.57.3"
TEXTS = ["My name is Sarah Jessica.", "The actors were wonderful, the story was not.", "One day"]
LONG = "This film was not good; the actors were wonderful, the story was not. " * 4
SHORT = {"max_new_tokens": 8}
SEARCHES = (
    {},
    {"num_beams": 1},
    {"num_beams": 3, "num_return_sequences": 2},
    {"num_beams": 1, "num_return_sequences": 2, "do_sample": True, "top_k": 1},
    {"length_penalty": -1.0, "early_stopping": True},
    {"return_tensors": True},
    {"return_text": False},
    {"clean_up_tokenization_spaces": True},
    {"min_new_tokens": 8, "no_repeat_ngram_size": 2},
    {"num_beams": 1, "stop_sequence": "the"},
)
# A task, what its pipeline is made with, its input, and what it is called with.
Call = tuple[str, dict[str, Any], Any, dict[str, Any]]
EN_DE = {"src_lang": "en_XX", "tgt_lang": "de_DE"}
CALLS: Mapping[str, tuple[Call, ...]] = {
    "t5": (
        *(("text2text-generation", {}, TEXTS[0], {**SHORT, **search}) for search in SEARCHES),
        ("text2text-generation", {}, TEXTS, SHORT),
        ("text2text-generation", {}, TEXTS, {**SHORT, "batch_size": 2}),
        ("text2text-generation", {}, TEXTS, {**SHORT, "num_return_sequences": 2}),
        ("text2text-generation", {}, TEXTS[:1], SHORT),
        ("text2text-generation", {}, LONG, {**SHORT, "truncation": True}),
        ("text2text-generation", {"num_beams": 2, "max_new_tokens": 5}, TEXTS[1], {}),
        ("text2text-generation", {"max_length": 7}, TEXTS[1], {}),
        # Many tokens without beams, whose sums of many steps differ by rounding from release to release.
        ("text2text-generation", {}, TEXTS[2], {"num_beams": 1}),
        ("summarization", {}, TEXTS[1], {"max_new_tokens": 12}),
        ("summarization", {}, TEXTS[1], {"num_beams": 1}),
        ("translation_en_to_de", {}, TEXTS[0], SHORT),
        ("translation_en_to_fr", {}, TEXTS[0], SHORT),
        ("translation", {}, TEXTS[0], SHORT),
    ),
    "bart": (
        ("summarization", {}, TEXTS[1], {}),
        ("summarization", {}, LONG, {}),
        ("summarization", {}, TEXTS, {"max_length": 9, "min_length": 4}),
        ("summarization", {}, LONG, {"max_length": 9, "truncation": True}),
        ("text2text-generation", {}, TEXTS, SHORT),
    ),
    "marian": (
        ("translation", {}, TEXTS[0], {}),
        ("translation_en_to_ru", {}, TEXTS, SHORT),
        ("translation_en_to_ru", {}, LONG, SHORT),
        ("translation", {}, ">>fra<< One day", SHORT),
        ("translation", {"src_lang": "en", "tgt_lang": "fr"}, TEXTS[:2], SHORT),
        ("translation", {}, TEXTS[0], {**SHORT, "return_tensors": True}),
    ),
    "mbart": (
        ("translation", EN_DE, TEXTS[0], SHORT),
        ("translation", EN_DE, TEXTS[0], {**SHORT, "tgt_lang": "fr_XX", "src_lang": "it_IT"}),
        ("translation", {}, TEXTS, {**SHORT, **EN_DE, "num_beams": 2}),
        ("translation", EN_DE, LONG, {**SHORT, "truncation": True}),
        ("text2text-generation", {}, TEXTS[0], SHORT),
    ),
}
_SUMMARY = {"early_stopping": True, "length_penalty": 2.0, "max_length": 20, "min_length": 6, "no_repeat_ngram_size": 3}
_GERMAN = {"early_stopping": True, "max_length": 30, "num_beams": 4, "prefix": "translate English to German: "}
_BARTS = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 400,
}


def main(reference: str) -> None:
    """Write the goldens with the interpreter that has the reference."""
    with tempfile.TemporaryDirectory() as root:
        weights = {name: make_checkpoint(name, Path(root) / name) for name in CALLS}
        command = [reference, str(Path(__file__).resolve()), "--answer", root]
        answered = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    rows = []
    for name, calls in answered["types"].items():
        lines = ",\n".join(json.dumps(call, ensure_ascii=False) for call in calls)
        rows.append(f'{json.dumps(name)}: {{"weights": {json.dumps(weights[name])}, "calls": [\n{lines}\n]}}')
    GOLDENS.write_text(
        f'{{"transformers": "{REFERENCE}", "types": {{\n' + ",\n".join(rows) + "\n}}\n", encoding="utf-8"
    )


def make_checkpoint(model_type: str, folder: Path) -> list[float]:
    """Make a seeded checkpoint and return the fingerprint of its weights."""
    import torch
    import transformers

    from tests.checkpoints import Spread, spread_weights
    from tests.goldens.make_question_answering import fingerprint

    folder.mkdir(parents=True)
    tokenizer = _make_tokenizer(model_type, folder)
    config = transformers.AutoConfig.for_model(model_type, **_config(model_type, tokenizer))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        model = transformers.AutoModelForSeq2SeqLM.from_config(config).eval()
        spread_weights(model, Spread(embedding=3.0 if model_type == "t5" else 1.0, rest=0.1))
    model.generation_config = transformers.GenerationConfig(**_generation(model_type, config))
    model.save_pretrained(folder)
    return fingerprint(folder)


def _make_tokenizer(model_type: str, folder: Path) -> Any:
    from tests.checkpoints import TOKENIZERS
    from tests.sentencepieces_tiny import MAKERS
    from tests.tokenizers_tiny import tiny_tokenizer
    from vitrify.export.processors.tokenizer import load_tokenizer

    if model_type == "bart":
        tiny_tokenizer(TOKENIZERS["roberta"], model_max_length=64).save_pretrained(folder)
        _patch(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast", extra_special_tokens={})
    else:
        MAKERS[model_type](folder)
        _patch(folder / "tokenizer_config.json", model_max_length=64)
    return load_tokenizer(folder)


def _patch(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


def _config(model_type: str, tokenizer: Any) -> dict[str, Any]:
    sizes = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    if model_type == "t5":
        tasks = {"summarization": {**_SUMMARY, "prefix": "summarize: "}, "translation_en_to_de": _GERMAN}
        own = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "tie_word_embeddings": False}
        return {**sizes, **own, "decoder_start_token_id": tokenizer.pad_token_id, "task_specific_params": tasks}
    if model_type == "marian":
        return {**sizes, **_BARTS, "decoder_start_token_id": tokenizer.pad_token_id, "forced_eos_token_id": 0}
    own = {"bos_token_id": tokenizer.bos_token_id, "decoder_start_token_id": tokenizer.eos_token_id}
    return {**sizes, **_BARTS, **own, **({"prefix": " "} if model_type == "bart" else {})}


def _generation(model_type: str, config: Any) -> dict[str, Any]:
    names = ("pad_token_id", "eos_token_id", "bos_token_id", "decoder_start_token_id", "forced_eos_token_id")
    tokens = {name: getattr(config, name, None) for name in names}
    if model_type == "bart":
        return {**tokens, "max_length": 14, "min_length": 5, "num_beams": 2, "no_repeat_ngram_size": 3}
    if model_type == "marian":
        return {**tokens, "max_length": 16, "num_beams": 3, "bad_words_ids": [[config.pad_token_id]]}
    return tokens


# What follows runs with transformers 4.57.3.


def answer(root: Path) -> None:
    """Print the answers on every checkpoint under `root`."""
    import transformers

    if transformers.__version__ != REFERENCE:
        raise SystemExit(f"the reference is transformers {REFERENCE}, this is {transformers.__version__}")
    types = {name: [_answered(root / name, *call) for call in calls] for name, calls in CALLS.items()}
    print(json.dumps({"types": types}))


def _answered(folder: Path, task: str, made: dict[str, Any], inputs: Any, options: dict[str, Any]) -> dict[str, Any]:
    import transformers

    model, info = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, output_loading_info=True)
    if info["missing_keys"] or info["unexpected_keys"] or info["mismatched_keys"]:
        raise SystemExit(f"{folder.name}: {info}")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    factory: Any = transformers.pipeline  # 5's annotations do not know the task
    pipe = factory(task, model=model.eval(), tokenizer=tokenizer, device="cpu", **made)
    warnings: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: warnings.append(record.getMessage())
    logger = logging.getLogger("transformers.pipelines.text2text_generation")
    logger.addHandler(handler)
    try:
        result = pipe(inputs, **options)
    finally:
        logger.removeHandler(handler)
    return {
        "task": task,
        "made": made,
        "inputs": inputs,
        "options": options,
        "warnings": len(warnings),
        "result": _plain(result),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, str) else value.tolist()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--answer"]:
        answer(Path(sys.argv[2]))
    else:
        main(*sys.argv[1:])
