"""A user's module: what type checkers say of pipelines and their results. It is checked, never run."""

from pathlib import Path
from typing import Any, assert_type

from vitrify import load_bundle, pipeline
from vitrify.runtime.loading import LoadedBundle
from vitrify.runtime.pipelines.fill_mask import FillMaskPipeline
from vitrify.runtime.pipelines.results import (
    Answer,
    Entity,
    FilledMask,
    GeneratedText,
    Label,
    Ranking,
    Summary,
    Transcript,
    Translation,
)
from vitrify.runtime.pipelines.shared.base import Pipeline
from vitrify.runtime.pipelines.text_classification import TextClassificationPipeline

classify = pipeline("text-classification", "bundle", profile="cpu-int8", batch_size=4)
assert_type(classify, TextClassificationPipeline)
assert_type(pipeline("sentiment-analysis"), TextClassificationPipeline)
assert_type(classify("a"), list[Label])
assert_type(classify(["a"]), list[Label])
assert_type(classify(["a"], top_k=2), list[list[Label]])
assert_type(pipeline("text-classification", top_k=None)(["a"]), list[list[Label]])
assert_type(classify("a")[0]["score"], float)

assert_type(pipeline("ner")("a"), list[Entity])
assert_type(pipeline("fill-mask"), FillMaskPipeline)
assert_type(pipeline("fill-mask")("a [MASK]"), list[FilledMask])
assert_type(pipeline("question-answering")(question="a", context="b"), Answer)
assert_type(pipeline("zero-shot-classification")("a", ["b"])["labels"], list[str])
assert_type(pipeline("zero-shot-classification")(["a"], ["b"]), list[Ranking])
assert_type(pipeline("feature-extraction")("a"), list[list[list[float]]])
assert_type(pipeline("text-generation")("a", max_new_tokens=2), list[GeneratedText])
assert_type(pipeline("text-generation")(["a"]), list[list[GeneratedText]])
assert_type(pipeline("summarization")(["a"]), list[Summary])
assert_type(pipeline("translation")("a"), list[Translation])
assert_type(pipeline("automatic-speech-recognition")("a.wav")["text"], str)
assert_type(pipeline("automatic-speech-recognition")("a.wav"), Transcript)
assert_type(pipeline("image-classification")("a.png"), list[Label])
assert_type(pipeline("image-to-text")("a.png")[0]["generated_text"], str)

anything = pipeline(model=Path("bundle"))
assert_type(anything, Pipeline[Any, Any])
assert_type(pipeline("translation_en_to_de"), Pipeline[Any, Any])
assert_type(load_bundle("bundle"), LoadedBundle)
with classify as opened:
    assert_type(opened.profile, str)
    assert_type(opened.dtype, str)
