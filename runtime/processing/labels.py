"""From a classifier's logits to the scores of its labels: their names, the function its config asks for; no task.

A config without names has as many labels as transformers gives it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import IntegrityError
from ..numerics import sigmoid, softmax

MOST_LABELS = 1_000_000


def identity(logits: np.ndarray) -> np.ndarray:
    """Return the logits: scores of a regression."""
    return logits


# The names that `function_to_apply` takes.
FUNCTIONS = {"softmax": softmax, "sigmoid": sigmoid, "none": identity}


def label_names(config: Mapping[str, Any]) -> dict[int, str]:
    """Return the names of the labels by their number: `id2label`, or LABEL_0 and so on, `num_labels` or else two."""
    if names := config.get("id2label"):
        return {int(number): name for number, name in names.items()}
    count = 2 if config.get("num_labels") is None else config["num_labels"]
    if not isinstance(count, int) or not 0 <= count <= MOST_LABELS:
        raise IntegrityError(f"config.json: num_labels is {count!r}, not a number from 0 to {MOST_LABELS}: correct it")
    return {number: f"LABEL_{number}" for number in range(count)}


def default_function(config: Mapping[str, Any]) -> str:
    """Return which of FUNCTIONS a classifier's config asks for.

    Source: the order in which transformers 5.23's text and image classification pipelines decide.
    """
    labels = len(label_names(config))
    problem = config.get("problem_type")
    if problem == "regression":
        return "none"
    if problem == "multi_label_classification" or labels == 1:
        return "sigmoid"
    if problem == "single_label_classification" or labels > 1:
        return "softmax"
    return str(config.get("function_to_apply") or "none")
