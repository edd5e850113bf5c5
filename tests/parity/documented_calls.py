"""The calls of transformers' documentation for each task: class docstrings, and the page "Pipelines for inference"."""

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig
from transformers.pipelines.pt_utils import KeyDataset

from tests.images import picture
from tests.parity.generating import CHAT, PREFILLED, USER
from tests.sounds import sound

RATE = 16_000
URGENT = "I have a problem with my iphone that needs to be resolved asap!!"
ARTICLE = "An apple a day, keeps the doctor away. The tower is 324 metres tall, about the same height as a building."
FRENCH = "Je m'appelle jean-baptiste et je vis à montréal"
SARAH = "My name is Sarah and I live in London"
REVIEWS = ["This movie is disgustingly good !", "Director tried too much.", "I love it"]


@dataclass(frozen=True)
class Documented:
    """A pipeline made with `made`, and called with what `given` returns (made anew for each side) and `options`."""

    given: Callable[[], tuple[Any, ...]]
    options: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{str(self.given())[:120]} {dict(self.options)}, made with {dict(self.made)}"


@dataclass(frozen=True)
class Subject:
    """Whose checkpoint a task is tried on, and how its calls go."""

    model_type: str
    head: str
    calls: tuple[Documented, ...]


class Rows(torch.utils.data.Dataset):
    """A data set as the documentation reads one: rows by number, or those of a column by KeyDataset."""

    def __init__(self, values: Any, column: str) -> None:
        self.values, self.column = values, column

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {self.column: self.values[index]}


def call(*args: Any, made: Mapping[str, Any] | None = None, **options: Any) -> Documented:
    return Documented(lambda: args, options, made or {})


def fresh(make: Callable[[], Any], *, made: Mapping[str, Any] | None = None, **options: Any) -> Documented:
    """Return a call with an input that one call uses up, or that transformers changes."""
    return Documented(lambda: (make(),), options, made or {})


def lazy(values: Any, column: str, **options: Any) -> tuple[Documented, ...]:
    """Return the calls of "Using pipelines on a dataset": a generator, a data set, with and without batches."""
    return (
        fresh(lambda: (each for each in values), **options),
        fresh(lambda: (each for each in values), batch_size=2, **options),
        fresh(lambda: KeyDataset(Rows(values, column), column), **options),
        fresh(lambda: KeyDataset(Rows(values, column), column), batch_size=2, **options),
    )


def both_ways(*args: Any, **options: Any) -> tuple[Documented, ...]:
    """Return calls with parameters at call time, at init time, and overridden."""
    return call(*args, **options), call(*args, made=options), call(*args, made=options, **options)


def recording(seconds: float = 0.9, seed: int = 0) -> np.ndarray:
    return sound(seconds, seed)


def base64_png() -> str:
    file = io.BytesIO()
    picture().save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


CLASSIFY = Subject(
    "distilbert",
    "sequence-classification",
    (
        *(call(text) for text in REVIEWS),
        call(REVIEWS),
        call(REVIEWS, batch_size=2),
        *both_ways(REVIEWS[0], top_k=None),
        *both_ways(REVIEWS, top_k=2),
        call(REVIEWS[0], made={"top_k": None}, top_k=1),
        *both_ways(REVIEWS[0], function_to_apply="sigmoid"),
        call({"text": REVIEWS[0], "text_pair": REVIEWS[1]}),
        call([{"text": REVIEWS[0], "text_pair": REVIEWS[1]}], top_k=None),
        *both_ways(ARTICLE * 20, truncation=True),
        call(ARTICLE * 20, truncation=True, padding=True, max_length=64),
        *lazy(REVIEWS, "text"),
        *lazy(REVIEWS, "text", truncation="only_first"),
    ),
)
TAG = Subject(
    "distilbert",
    "token-classification",
    (
        call(SARAH),
        call([SARAH, FRENCH]),
        *(
            one
            for name in ("none", "simple", "first", "average", "max")
            for one in both_ways(FRENCH, aggregation_strategy=name)
        ),
        call(SARAH, made={"aggregation_strategy": "simple"}, aggregation_strategy="none"),
        *both_ways(SARAH, ignore_labels=[]),
        *both_ways(ARTICLE * 5, aggregation_strategy="simple", stride=4),
        call([SARAH, FRENCH], batch_size=2, aggregation_strategy="simple"),
        call(SARAH.split(), is_split_into_words=True, aggregation_strategy="simple"),
        *lazy([SARAH, FRENCH, URGENT], "text", aggregation_strategy="simple"),
    ),
)
FILL = Subject(
    "distilbert",
    "masked-lm",
    (
        call("This is a simple [MASK]."),
        call("This is a simple [MASK]. " + "with repeated text " * 100, tokenizer_kwargs={"truncation": True}),
        *both_ways("This is a simple [MASK].", top_k=2),
        *both_ways("This is a simple [MASK].", targets=["a", "the"]),
        call("This is a simple [MASK].", targets="the", top_k=1),
        call("A [MASK] and a [MASK]."),
        call(["This is a simple [MASK].", "A [MASK] fox"]),
        call(["This is a simple [MASK].", "A [MASK] fox"], batch_size=2, top_k=1),
        *lazy(["This is a simple [MASK].", "A [MASK] fox", "[MASK]"], "text"),
    ),
)
EXTRACT = Subject(
    "distilbert",
    "base",
    (
        call("This is a simple test."),
        *both_ways("This is a simple test.", return_tensors=True),
        call(["This is a simple test.", "Another"]),
        call(["This is a simple test.", "Another"], batch_size=2),
        *both_ways(ARTICLE * 20, truncation=True),
        call(ARTICLE * 20, tokenize_kwargs={"truncation": True, "max_length": 16}),
        *lazy(["This is a simple test.", "Another"], "text"),
    ),
)
LABELS = ["urgent", "not urgent", "phone", "tablet", "computer"]
ZERO_SHOT = Subject(
    "distilbert",
    "sequence-classification",
    (
        call(URGENT, candidate_labels=LABELS),
        call(URGENT, candidate_labels=["english", "german"]),
        call(URGENT, LABELS),
        call(URGENT, candidate_labels="urgent, not urgent, phone"),
        *both_ways(URGENT, candidate_labels=LABELS, multi_label=True),
        *both_ways(URGENT, candidate_labels=LABELS, hypothesis_template="This text is about {}."),
        call([URGENT, REVIEWS[0]], candidate_labels=LABELS),
        call([URGENT, REVIEWS[0]], candidate_labels=LABELS, batch_size=2),
        call(sequences=URGENT, candidate_labels=LABELS),
        *lazy([URGENT, REVIEWS[0]], "text", candidate_labels=LABELS),
    ),
)
GREEDY: Mapping[str, Any] = {"do_sample": False, "max_new_tokens": 8}
GENERATE = Subject(
    "gpt2",
    "causal-lm",
    (
        call("I can't believe you did such a ", **GREEDY),
        *both_ways("My tart needs some", **GREEDY, return_full_text=False),
        call("My tart needs some", **GREEDY, num_beams=4, num_return_sequences=4, return_full_text=False),
        call("My tart needs some", do_sample=False, max_length=20),
        call(["My tart needs some", "I can't"], **GREEDY),
        call(["My tart needs some", "I can't"], **GREEDY, batch_size=2),
        call("My tart needs some", **GREEDY, return_tensors=True),
        call("My tart needs some", **GREEDY, clean_up_tokenization_spaces=True),
        call("My tart needs some", **GREEDY, prefix="Well, "),
        call("My tart needs some", **GREEDY, handle_long_generation="hole"),
        call("My tart needs some", **GREEDY, repetition_penalty=1.3, no_repeat_ngram_size=2),
        call("My tart needs some", do_sample=False, min_new_tokens=3, max_new_tokens=8),
        call("My tart needs some", do_sample=False, max_new_tokens=12, stop_sequence="e"),
        call("My tart needs some", generation_config=GenerationConfig(do_sample=False, max_new_tokens=5)),
        call([USER], **GREEDY),
        call(CHAT, **GREEDY),
        call(CHAT, **GREEDY, return_full_text=False),
        call(PREFILLED, **GREEDY),
        call(PREFILLED, **GREEDY, continue_final_message=True),
        call([CHAT, [USER]], **GREEDY),
        call([CHAT, [USER]], **GREEDY, batch_size=2),
        call(text_inputs="My tart needs some", **GREEDY),
        call(ARTICLE * 20, **GREEDY, truncation=True, max_length=None, tokenizer_encode_kwargs={"max_length": 20}),
        *lazy(["My tart needs some", "I can't"], "text", **GREEDY),
        *lazy([CHAT, [USER]], "messages", **GREEDY),
    ),
)
SHORT: Mapping[str, Any] = {"num_beams": 1, "max_new_tokens": 20}
AUDIO = (
    fresh(recording),
    fresh(lambda: {"array": recording(), "sampling_rate": RATE}),
    fresh(lambda: {"raw": recording(), "sampling_rate": RATE}),
    fresh(lambda: {"path": "1.flac", "array": recording(), "sampling_rate": RATE}),
    fresh(lambda: {"raw": recording(), "sampling_rate": RATE, "id": 7}),
    fresh(lambda: np.stack([recording(), recording(seed=1)])),
    fresh(lambda: torch.from_numpy(recording())),
    fresh(lambda: [recording(), recording(0.5)]),
    fresh(lambda: [recording(), recording(0.5)], batch_size=2),
    fresh(lambda: (recording(seconds) for seconds in (0.9, 0.5))),
    fresh(lambda: [{"array": recording(), "sampling_rate": RATE}, {"array": recording(0.5), "sampling_rate": RATE}]),
    fresh(lambda: KeyDataset(Rows([{"array": recording(), "sampling_rate": RATE}], "audio"), "audio")),
)
HEAR = Subject(
    "whisper",
    "speech-seq2seq",
    (
        *(Documented(each.given, {**each.options, "generate_kwargs": SHORT}) for each in AUDIO),
        fresh(recording, **SHORT),
        fresh(recording, made=SHORT),
        fresh(recording, made={"generate_kwargs": SHORT}),
        fresh(recording, made={"generate_kwargs": SHORT}, max_new_tokens=5),
        fresh(recording, **SHORT, generate_kwargs={"max_new_tokens": 3, "num_beams": 1}),
        fresh(recording, return_timestamps=True, generate_kwargs=SHORT),
        fresh(recording, made={"return_timestamps": True}, generate_kwargs=SHORT),
        fresh(lambda: recording(1.0), return_timestamps="word", generate_kwargs=SHORT),
        fresh(recording, generate_kwargs={**SHORT, "return_timestamps": True}),
        fresh(recording, generate_kwargs={**SHORT, "language": "french", "task": "translate"}),
        fresh(recording, return_language=True, generate_kwargs=SHORT),
        fresh(recording, return_language=True, return_timestamps=True, generate_kwargs=SHORT),
        fresh(lambda: recording(2.4), return_timestamps=True, generate_kwargs=SHORT),
        fresh(lambda: recording(2.4), chunk_length_s=1, generate_kwargs=SHORT),
        fresh(lambda: recording(2.4), made={"chunk_length_s": 1, "ignore_warning": True}, generate_kwargs=SHORT),
        fresh(lambda: recording(2.4), chunk_length_s=1, batch_size=2, generate_kwargs=SHORT),
        fresh(lambda: recording(2.4), chunk_length_s=1, stride_length_s=(0.2, 0.1), generate_kwargs=SHORT),
        fresh(lambda: recording(2.4), chunk_length_s=1, return_timestamps=True, generate_kwargs=SHORT),
    ),
)
LETTERS = Subject(
    "wav2vec2",
    "ctc",
    (
        *AUDIO,
        fresh(recording, return_timestamps="char"),
        fresh(recording, return_timestamps="word"),
        fresh(recording, made={"return_timestamps": "word"}),
        fresh(lambda: recording(3), chunk_length_s=1),
        fresh(lambda: recording(3), made={"chunk_length_s": 1, "stride_length_s": 0.2}),
        fresh(lambda: recording(3), chunk_length_s=1, stride_length_s=(0.2, 0.1), return_timestamps="word"),
        fresh(lambda: {"raw": recording(), "sampling_rate": RATE, "stride": (800, 800)}),
    ),
)
LOOK = Subject(
    "vit",
    "image-classification",
    (
        call(picture()),
        call([picture(), picture(1)]),
        call([picture(), picture(1)], batch_size=2),
        *both_ways(picture(), top_k=2),
        *both_ways(picture(), function_to_apply="sigmoid"),
        call(inputs=picture()),
        call(base64_png()),
        call([base64_png(), picture(1)]),
        call(picture().convert("L")),
        call(picture().convert("RGBA")),
        *lazy([picture(), picture(1)], "image"),
    ),
)
SEE = Subject(
    "vit",
    "base",
    (
        call(picture()),
        *both_ways(picture(), return_tensors=True),
        *both_ways(picture(), image_processor_kwargs={"do_normalize": False}),
        call([picture(), picture(1)]),
        call([picture(), picture(1)], batch_size=2),
        *lazy([picture(), picture(1)], "image"),
    ),
)
SUBJECTS: Mapping[str, Subject] = {
    "sentiment-analysis": CLASSIFY,
    "ner": TAG,
    "fill-mask": FILL,
    "feature-extraction": EXTRACT,
    "zero-shot-classification": ZERO_SHOT,
    "text-generation": GENERATE,
    "automatic-speech-recognition": HEAR,
    "automatic-speech-recognition of letters": LETTERS,
    "image-classification": LOOK,
    "image-feature-extraction": SEE,
}
