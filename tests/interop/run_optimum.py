"""Runs a bundle in optimum-onnx, in its own environment: a request in JSON on stdin, its answer on stdout."""

import json
import sys

from optimum.onnxruntime import (
    ORTModelForCausalLM,
    ORTModelForFeatureExtraction,
    ORTModelForImageClassification,
    ORTModelForSequenceClassification,
)
from transformers import AutoImageProcessor, AutoTokenizer, pipeline

CLASSES = {
    "text-classification": ORTModelForSequenceClassification,
    "feature-extraction": ORTModelForFeatureExtraction,
    "image-classification": ORTModelForImageClassification,
    "generate": ORTModelForCausalLM,
}


def main() -> None:
    asked = json.load(sys.stdin)
    model = CLASSES[asked["task"]].from_pretrained(asked["bundle"])
    run = written if asked["task"] == "generate" else answered
    print(json.dumps(run(model, **asked)))


def written(model, *, bundle, task, inputs, options):
    tokenizer = AutoTokenizer.from_pretrained(bundle, padding_side="left", pad_token=inputs["pad_token"])
    assert model.can_use_cache
    rows = tokenizer(inputs["prompts"], padding=True, return_tensors="pt")
    return model.generate(**rows, **options, use_cache=True).tolist()


def answered(model, *, bundle, task, inputs, options):
    parts = {"image_processor": AutoImageProcessor} if task == "image-classification" else {"tokenizer": AutoTokenizer}
    read = {name: auto.from_pretrained(bundle) for name, auto in parts.items()}
    return pipeline(task, model=model, **read)(inputs, **options)


if __name__ == "__main__":
    main()
