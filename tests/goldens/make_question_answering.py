"""Make `question_answering.json`: what question-answering of transformers 4.57.3 answers on the tiny checkpoints.

Transformers 5 has no such pipeline, so the goldens are made once, and again only when a checkpoint changes:

    python -m venv reference
    reference/bin/pip install torch==2.13.0 transformers==4.57.3
    .venv/bin/python -m tests.goldens.make_question_answering reference/bin/python

The first interpreter writes the checkpoints (they need transformers 5), the second one answers.
"""

import base64
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GOLDENS = Path(__file__).with_name("question_answering.json")
REFERENCE = "4.57.3"
HEAD = "question-answering"

SHORT = (
    "What is the capital of France?",
    "My name is Sarah Jessica and I live in London, near the river. Paris is the capital of France; paris was old.",
)
LONG = (
    "Where does he sleep?",
    (
        "Le chat est assis près de la fenêtre; l'été, il dort dehors. Der Fluß fließt an alten Häusern vorbei, über "
        "die Brücke. 東京は日本の首都です。 One day I will see the world, he said, and then he went to Tokyo 👩‍💻. The "
        "quick brown fox jumps over the lazy dog, and nobody was surprised: 3 for 5.99 dollars, 100 for 150 in Tokyo."
    ),
)
FEW = ("Who is it?", "Sarah did")
# A call: the question and its context, how they are tokenized, and the sets of parameters that choose the answers.
CALLS: tuple[tuple[tuple[str, str], dict[str, Any], tuple[dict[str, Any], ...]], ...] = (
    (
        SHORT,
        {},
        (
            {},
            {"top_k": 5},
            {"top_k": 3, "align_to_words": False},
            {"align_to_words": False},
            {"top_k": 4, "handle_impossible_answer": True},
            {"top_k": 3, "max_answer_len": 1},
            {"top_k": 2, "max_answer_len": 1000},
        ),
    ),
    (LONG, {"max_seq_len": 96, "doc_stride": 24}, ({}, {"top_k": 12}, {"top_k": 40, "handle_impossible_answer": True})),
    (LONG, {"max_seq_len": 72, "doc_stride": 0, "padding": "max_length"}, ({"top_k": 6},)),
    (
        FEW,
        {},
        (
            {},
            {"top_k": 30, "handle_impossible_answer": True},
            {"top_k": 30, "align_to_words": False, "max_answer_len": 2},
        ),
    ),
)
TYPES = (
    *("bert", "distilbert", "roberta", "xlm-roberta", "camembert", "albert", "electra", "mpnet", "deberta-v2"),
    *("modernbert", "bart", "gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3"),
)
LEFT = ("bert", "roberta", "llama")  # also with the context first


def main(reference: str) -> None:
    """Write the goldens with the interpreter that has the reference."""
    with tempfile.TemporaryDirectory() as root:
        weights = {name: _prepared(name, Path(root) / name) for name in TYPES}
        command = [reference, str(Path(__file__).resolve()), "--answer", root]
        answered = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    made = {name: {"weights": weights[name], "calls": calls} for name, calls in answered["types"].items()}
    GOLDENS.write_text(_lines({**answered, "types": made}))


def fingerprint(folder: Path) -> list[float]:
    """Return how many weights a checkpoint has, their sum and the sum of their squares.

    A digest would also change with the last bit of a random number, which is the CPU's.
    """
    from safetensors.numpy import load_file

    weights = [tensor.astype("float64") for _, tensor in sorted(load_file(folder / "model.safetensors").items())]
    return [
        float(sum(tensor.size for tensor in weights)),
        float(sum(tensor.sum() for tensor in weights)),
        float(sum((tensor**2).sum() for tensor in weights)),
    ]


def _prepared(model_type: str, folder: Path) -> list[float]:
    """Make a checkpoint that 4.57.3 reads: 5's tokenizer classes and `rope_parameters` are new to it."""
    from transformers import AutoTokenizer

    from tests.checkpoints import make_checkpoint

    make_checkpoint(model_type, HEAD, folder)
    names = list(AutoTokenizer.from_pretrained(folder).model_input_names)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": names, "extra_special_tokens": {}}
    _patch(folder / "tokenizer_config.json", **settings)
    rope = json.loads((folder / "config.json").read_text()).get("rope_parameters") or {}
    if "full_attention" in rope:
        thetas = {"global_rope_theta": "full_attention", "local_rope_theta": "sliding_attention"}
        _patch(folder / "config.json", **{name: rope[kind]["rope_theta"] for name, kind in thetas.items()})
    elif rope:
        _patch(folder / "config.json", **{name: value for name, value in rope.items() if name != "rope_type"})
    return fingerprint(folder)


def _patch(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def _lines(goldens: dict[str, Any]) -> str:
    """Return JSON with one call a line."""
    types = goldens.pop("types")
    rows = []
    for name, row in types.items():
        calls = ",\n".join(json.dumps(call, ensure_ascii=False) for call in row["calls"])
        rows.append(f'{json.dumps(name)}: {{"weights": {json.dumps(row["weights"])}, "calls": [\n{calls}\n]}}')
    return json.dumps(goldens)[:-1] + ', "types": {\n' + ",\n".join(rows) + "\n}}\n"


# What follows runs with transformers 4.57.3.


def answer(root: Path) -> None:
    """Print the answers on every checkpoint under `root`."""
    import transformers

    if transformers.__version__ != REFERENCE:
        raise SystemExit(f"the reference is transformers {REFERENCE}, this is {transformers.__version__}")
    types = {name: list(_calls(root / name, left=name in LEFT)) for name in TYPES}
    print(json.dumps({"transformers": REFERENCE, "types": types}))


def _calls(folder: Path, *, left: bool) -> Iterator[dict[str, Any]]:
    import transformers

    auto = transformers.AutoModelForQuestionAnswering
    model, info = auto.from_pretrained(folder, output_loading_info=True)
    if info["missing_keys"] or info["unexpected_keys"] or info["mismatched_keys"]:
        raise SystemExit(f"{folder.name}: {info}")
    factory: Any = transformers.pipeline  # 5's annotations do not know the task
    for side in ("right", "left") if left else ("right",):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side=side)
        pipe = factory(HEAD, model=model.eval(), tokenizer=tokenizer, device="cpu")
        for texts, tokenizing, choices in CALLS if side == "right" else CALLS[:2]:
            yield {"padding_side": side, **_call(pipe, texts, tokenizing, choices)}


def _call(pipe: Any, texts: tuple[str, str], tokenizing: dict[str, Any], choices: Any) -> dict[str, Any]:
    sample = pipe.create_sample(*texts)
    outputs = [pipe.forward(inputs) for inputs in _windows(pipe, sample, tokenizing)]
    answers = [{"parameters": choice, "answers": pipe.postprocess(outputs, **choice)} for choice in choices]
    if pipe.tokenizer.padding_side == "right":
        for row in answers:
            assert row["answers"] == pipe(question=texts[0], context=texts[1], **tokenizing, **row["parameters"])
    return {
        "question": texts[0],
        "context": texts[1],
        "tokenizing": tokenizing,
        "windows": [_window(output) for output in outputs],
        "answers": answers,
    }


def _windows(pipe: Any, sample: Any, tokenizing: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the inputs of 4.57.3, with the mask it means where the context comes first: by a slip it masks nothing."""
    import torch

    for inputs in pipe.preprocess(sample, **tokenizing):
        if pipe.tokenizer.padding_side == "left":
            of = inputs["encoding"].sequence_ids
            ids, cls = inputs["input_ids"][0].tolist(), pipe.tokenizer.cls_token_id
            masked = [sequence != 0 and token != cls for sequence, token in zip(of, ids, strict=True)]
            inputs["p_mask"] = torch.tensor([masked])
        yield inputs


def _window(output: dict[str, Any]) -> dict[str, Any]:
    texts = {name: base64.b64encode(output[name].numpy().tobytes()).decode() for name in ("start", "end")}
    return {
        "input_ids": output["input_ids"][0].tolist(),
        "attention_mask": "".join(map(str, output["attention_mask"][0].tolist())),
        **texts,
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--answer"]:
        answer(Path(sys.argv[2]))
    else:
        main(*sys.argv[1:])
