"""Checkpoints of which one file is changed: what an export makes of each, beside what transformers makes of it.

`python -m tests.parity.mutated_checkpoints` exports all of them and writes `mutated_checkpoints.toml`.
"""

import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers

from tests.checkpoints import make_checkpoint
from tests.images import picture
from tests.mutations import Mutation, Subject, applied, is_sentence, mutations
from tests.parity.compare import assert_same
from tests.sounds import sound
from vitrify import export_bundle, pipeline
from vitrify.export.quiet import quiet
from vitrify.runtime.errors import VitrifyError

SEEDS = range(60)
TABLE = Path(__file__).with_suffix(".toml")
ANSWERS, ALONE, RIGHTLY, WRONGLY = "answers", "answers alone", "refused rightly", "refused wrongly"
KINDS = (ANSWERS, ALONE, RIGHTLY, WRONGLY)
TOLERANCE = 1e-4
_TEXT, _SHORT = "the small dog", {"max_new_tokens": 3, "do_sample": False, "num_beams": 1}
_INDEX = "model.safetensors.index.json"
# What each task is asked, and with which arguments.
CALLS: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "text-classification": (_TEXT, {"top_k": None}),
    "token-classification": (_TEXT, {"aggregation_strategy": "simple"}),
    "fill-mask": ("the {mask} dog", {}),
    "feature-extraction": (_TEXT, {}),
    "text-generation": (_TEXT, _SHORT),
    "text2text-generation": (_TEXT, _SHORT),
    "image-to-text": (picture(), _SHORT),
    "image-classification": (picture(), {}),
    "image-feature-extraction": (picture(), {}),
    "automatic-speech-recognition": (sound(0.5), {}),
}
# The type, the head and the task of each checkpoint; seeds take turns.
CHECKPOINTS = (
    ("bert", "sequence-classification", "text-classification"),
    ("gpt2", "causal-lm", "text-generation"),
    ("vit", "image-classification", "image-classification"),
    ("t5", "seq2seq-lm", "text2text-generation"),
    ("wav2vec2", "ctc", "automatic-speech-recognition"),
    ("roberta", "masked-lm", "fill-mask"),
    ("llama", "causal-lm", "text-generation"),
    ("distilbert", "token-classification", "token-classification"),
    ("convnext", "base", "image-feature-extraction"),
    ("whisper", "speech-seq2seq", "automatic-speech-recognition"),
    ("albert", "base", "feature-extraction"),
    ("qwen2", "causal-lm", "text-generation"),
    ("deberta-v2", "sequence-classification", "text-classification"),
    ("resnet", "image-classification", "image-classification"),
    ("marian", "seq2seq-lm", "text2text-generation"),
    ("hubert", "ctc", "automatic-speech-recognition"),
    ("modernbert", "masked-lm", "fill-mask"),
    ("gemma2", "causal-lm", "text-generation"),
    ("gpt2", "sequence-classification", "text-classification"),
    ("vit-gpt2", "image-to-text", "image-to-text"),
)
# Those of which an index names the file of weights.
INDEXED = {("bert", "sequence-classification"), ("llama", "causal-lm"), ("whisper", "speech-seq2seq")}


@dataclass(frozen=True)
class Outcome:
    """What came of the checkpoint of a seed: one of KINDS, and the refusal's words."""

    words: str
    kind: str
    said: str = ""


def subject_of(seed: int, place: Path) -> Subject:
    """Return the whole checkpoint of a seed, made in `place` unless it is there; some with an index of weights."""
    model_type, head, task = CHECKPOINTS[seed % len(CHECKPOINTS)]
    folder, (asked, options) = place / f"{model_type}-{head}", CALLS[task]
    if not folder.is_dir():
        make_checkpoint(model_type, head, folder)
        if (model_type, head) in INDEXED:
            _index(folder)
    return Subject(f"{model_type} {head}", folder, task, asked, dict(options))


def _index(folder: Path) -> None:
    """Have an index name the weights' file, as for a model in several."""
    from safetensors import safe_open

    shard = (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    with safe_open(shard, framework="numpy") as file:
        weights = dict.fromkeys(file.keys(), shard.name)
    text = json.dumps({"metadata": {"total_size": shard.stat().st_size}, "weight_map": weights})
    (folder / _INDEX).write_text(text, encoding="utf-8")


def outcome_of(seed: int, subject: Subject) -> Outcome:
    """Change the subject as the seed has it, ask both sides, and compare what they answer.

    What is not an error of vitrify's is raised as it comes, and so is a difference, or a message that is no sentence.
    """
    (mutation,) = mutations(subject, 1, random.Random(seed), depth=2)
    words = f"{subject.name}: {mutation.file}: {ascii(mutation.words)[1:-1]}"
    with applied(subject, mutation):
        try:
            got = _ours(subject)
        except VitrifyError as error:
            said = f"{type(error).__name__}: {error}"
            assert is_sentence(said), f"{words}: {said}"
            rightly = names(mutation, said) or _refused_by_transformers(subject)
            return Outcome(words, RIGHTLY if rightly else WRONGLY, said)
        if refused := _refused_by_transformers(subject):
            return Outcome(words, ALONE, refused)
        with quiet():
            expected = _theirs(subject)
    assert_same(got, expected, tolerance=TOLERANCE)
    return Outcome(words, ANSWERS)


def names(mutation: Mutation, said: str) -> bool:
    """Tell whether a sentence names what was changed: the file, or the field and its value."""
    if not mutation.place:
        return mutation.file in said
    fields = [key for key in mutation.place if isinstance(key, str) and not key.isdecimal()]
    if not any(field in said for field in fields[-2:]):
        return False
    return mutation.value == "dropped" or any(form in said for form in _forms(mutation.value))


def _forms(value: Any) -> Iterator[str]:
    """Yield the beginnings of how a value of JSON may be written."""
    yield repr(value)[:20]
    yield json.dumps(value)[:20]
    yield "[[" if value == "deep" else str(value)[:20] or "''"


def _ours(subject: Subject) -> Any:
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "bundle"
        export_bundle(subject.folder, bundle, task=subject.task)
        pipe = pipeline(subject.task, bundle)
        return pipe(_masked(subject.given, pipe.tokenizer), **subject.options)


def _refused_by_transformers(subject: Subject) -> str:
    """Return why transformers does not answer, or nothing."""
    with quiet():
        try:
            _theirs(subject)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a panic of tokenizers is not an Exception
            return f"{type(error).__name__}: {error!s:.200}"
    return ""


def _theirs(subject: Subject) -> Any:
    if subject.task in _GENERATES:
        return _GENERATES[subject.task](subject)
    make: Any = transformers.pipeline
    pipe = make(subject.task, model=str(subject.folder), device="cpu")
    return pipe(_masked(subject.given, pipe.tokenizer), **subject.options)


def _masked(given: Any, tokenizer: Any) -> Any:
    return given.format(mask=tokenizer.mask_token) if isinstance(given, str) else given


def _text_from_text(subject: Subject) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(subject.folder)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(subject.folder).eval()
    inputs = tokenizer(subject.given, return_tensors="pt")
    return _written(model, inputs, tokenizer, subject.options)


def _text_from_image(subject: Subject) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(subject.folder)
    processor = transformers.AutoImageProcessor.from_pretrained(subject.folder, backend="pil")
    model = transformers.AutoModelForImageTextToText.from_pretrained(subject.folder).eval()
    return _written(model, processor(subject.given, return_tensors="pt"), tokenizer, subject.options)


def _written(model: Any, inputs: Mapping[str, Any], tokenizer: Any, options: Mapping[str, Any]) -> Any:
    taken = {name: value for name, value in inputs.items() if name != "token_type_ids"}
    (ids,) = model.generate(**taken, **options)
    return [{"generated_text": tokenizer.decode(ids, skip_special_tokens=True)}]


# transformers 5 has no pipeline of these.
_GENERATES: Mapping[str, Callable[[Subject], Any]] = {
    "text2text-generation": _text_from_text,
    "image-to-text": _text_from_image,
}


def _main(chosen: Iterable[int]) -> None:
    found = {}
    with tempfile.TemporaryDirectory() as place:
        for seed in chosen:
            try:
                found[seed] = outcome_of(seed, subject_of(seed, Path(place)))
                sys.stderr.write(f"seed {seed}: {found[seed]}\n")
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - told, and the next one tried
                sys.stderr.write(f"seed {seed}: FAULT {type(error).__name__}: {error}\n")
    if set(found) == set(SEEDS):
        TABLE.write_text(_table(found), encoding="utf-8")


def _table(found: Mapping[int, Outcome]) -> str:
    counts = Counter(outcome.kind for outcome in found.values())
    lines = [
        "# Generated by `python -m tests.parity.mutated_checkpoints`: what an export makes of changed checkpoints, by",
        "# seed. What is refused wrongly may only shrink.",
        "[counts]",
        *(f'"{kind}" = {counts[kind]}' for kind in KINDS),
        "",
        f'["{WRONGLY}"]',
        *(f"{seed} = {json.dumps(row.words)}" for seed, row in found.items() if row.kind == WRONGLY),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    _main([int(word) for word in sys.argv[1:]] or SEEDS)
