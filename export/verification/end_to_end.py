"""The last comparison of an export: a finished bundle's pipelines beside `transformers.pipeline`, on text and images.

The parity gate compares logits; this one would see a wrong tokenizer setting, label or rounding around them.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.errors import ParityError
from ...runtime.graphs.signature import Axis
from ...runtime.loading import LoadedBundle, load_bundle
from ...runtime.pipelines.classes import pipeline_class
from ...runtime.tasks import find_task
from ..checkpoint.opened import Checkpoint
from ..quiet import quiet

TEXTS = (
    "The Eiffel Tower was built by Gustave Eiffel in Paris.",
    "Naïve café, 東京 and القاهرة 👩‍💻: this film was surprisingly good!",
)

Call = tuple[Any, Mapping[str, Any]]
_LOG = logging.getLogger("vitrify")


def compare_pipelines(checkpoint: Checkpoint, folder: Path, *, profile: str, tolerance: float) -> int:
    """Run every task of the bundle on both sides and return how many results were the same.

    question-answering has no pipeline in transformers 5, so only its logits are compared, by the gate.

    Raises
    ------
    ParityError
        A result differs in structure, in a label or, by more than `tolerance`, in a number.

    """
    loaded = load_bundle(folder, profile=profile)
    compared = 0
    for task, calls in _calls(checkpoint, loaded).items():
        if task not in loaded.bundle.tasks:
            continue
        pipe = pipeline_class(find_task(task))(loaded, task=task)
        for inputs, options in calls:
            try:
                with quiet():
                    expected = _reference(checkpoint, task)(inputs, **options)
            except Exception as error:  # noqa: BLE001 - what transformers cannot answer says nothing of the bundle
                _LOG.info("transformers.pipeline fails on %.80r: %s: %s", inputs, type(error).__name__, error)
                continue
            if difference := _difference(pipe(inputs, **options), expected, tolerance):
                raise ParityError(
                    f"{task} answers otherwise than transformers.pipeline on {inputs!r:.80}: {difference}"
                )
            compared += 1
    return compared


def _calls(checkpoint: Checkpoint, loaded: LoadedBundle) -> dict[str, list[Call]]:
    texts = list(_fitting(TEXTS, checkpoint.tokenizer, loaded))
    mask = getattr(checkpoint.tokenizer, "mask_token", None)
    masked = list(_fitting((f"Paris is the {mask} of France.", f"a {mask}"), checkpoint.tokenizer, loaded, cut=False))
    return {
        "feature-extraction": [(text, {}) for text in texts],
        "text-classification": [(text, {"top_k": None}) for text in texts],
        "token-classification": [(text, {"aggregation_strategy": "simple"}) for text in texts],
        "fill-mask": [(text, {}) for text in masked[:1]],
        "zero-shot-classification": [(text, {"candidate_labels": ["cinema", "politics"]}) for text in texts[-1:]]
        * _is_nli(checkpoint),
        "automatic-speech-recognition": [
            (_sound(), {}),
            (_sound(), {"chunk_length_s": 1, "return_timestamps": "word"}),
        ]
        * (checkpoint.head.name == "ctc"),
        "image-classification": [(_picture(), {})],
        "image-feature-extraction": [(_picture(), {})],
    }


def _fitting(texts: Iterable[str], tokenizer: Any, loaded: LoadedBundle, *, cut: bool = True) -> Iterator[str]:
    """Yield the texts that the model has positions for; others are `cut` to half until they fit, or left out."""
    room = loaded.bundle.axes.get("sequence", Axis()).maximum
    if tokenizer is None:
        return
    for text in texts:
        kept = text
        while room is not None and kept and len(tokenizer(kept)["input_ids"]) > room:
            kept = kept[: len(kept) // 2] if cut else ""
        if kept.strip():
            yield kept


def _is_nli(checkpoint: Checkpoint) -> bool:
    """Tell whether the classifier was trained to tell entailment, without which zero-shot means nothing."""
    labels = checkpoint.config.label2id or (checkpoint.config.id2label or {}).values()
    return any(str(label).lower().startswith("entail") for label in labels)


def _sound() -> np.ndarray:
    """Return 2.7 s of a rising tone with overtones and noise, float32 [samples] at 16 kHz."""
    time = np.arange(43_217) / 16_000
    phase = 2 * np.pi * (150 * time + 60 * time**2)
    tone = np.sin(phase) + 0.5 * np.sin(3 * phase) * np.sin(9 * time)
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (0.2 * tone + 0.02 * noise).astype(np.float32)


def _picture() -> Any:
    """Return a picture with edges, gradients and colours, larger than what models take."""
    from PIL import Image

    rows, columns = np.mgrid[0:300, 0:400]
    disc = (rows - 140) ** 2 + (columns - 180) ** 2 < 90**2
    pixels = np.stack([rows * 255 // 300, columns * 255 // 400, np.where(disc, 220, 40)], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def _reference(checkpoint: Checkpoint, task: str) -> Callable[..., Any]:
    from transformers import pipeline

    processor = {
        "image": {"image_processor": checkpoint.image_processor},
        "audio": {"feature_extractor": checkpoint.speech_processor, "tokenizer": checkpoint.tokenizer},
    }.get(checkpoint.kinds[0], {"tokenizer": checkpoint.tokenizer})
    make: Any = pipeline  # its overloads know every task, not a str
    with quiet():
        return make(task, model=checkpoint.model, device="cpu", **processor)


def _difference(got: Any, expected: Any, tolerance: float, at: str = "result") -> str | None:
    """Return the first difference in words, or None; lists ranked by score are compared as sets."""
    if isinstance(expected, (float, np.floating)):
        return None if abs(got - expected) <= tolerance else f"{at} is {got}, not {expected}"
    if isinstance(expected, dict):
        if set(got) != set(expected):
            return f"{at} has {sorted(got)}, not {sorted(expected)}"
        pairs = [(f"{at}[{key!r}]", got[key], expected[key]) for key in expected]
    elif isinstance(expected, (list, tuple)):
        if len(got) != len(expected):
            return f"{at} has {len(got)} items, not {len(expected)}"
        pairs = [(f"{at}[{i}]", *pair) for i, pair in enumerate(zip(_ordered(got), _ordered(expected), strict=True))]
    else:
        return None if got == expected else f"{at} is {got!r}, not {expected!r}"
    return next((found for where, one, other in pairs if (found := _difference(one, other, tolerance, where))), None)


def _ordered(items: Any) -> Any:
    """Return ranked results in an order that near-equal scores do not change."""
    if items and all(isinstance(item, dict) and "score" in item for item in items):
        return sorted(items, key=lambda item: repr([(key, item[key]) for key in sorted(item) if key != "score"]))
    return items
