"""From a classifier's logits to the scores of its labels: which function its config asks for; it knows no task."""

import numpy as np

from ..numerics import sigmoid, softmax


def identity(logits: np.ndarray) -> np.ndarray:
    """Return the logits: scores of a regression."""
    return logits


# The names that `function_to_apply` takes.
FUNCTIONS = {"softmax": softmax, "sigmoid": sigmoid, "none": identity}


def default_function(config: dict) -> str:
    """Return which of FUNCTIONS a classifier's config asks for.

    Source: the order in which transformers 5.23's text and image classification pipelines decide.
    """
    labels = len(config.get("id2label") or (0, 1))
    problem = config.get("problem_type")
    if problem == "regression":
        return "none"
    if problem == "multi_label_classification" or labels == 1:
        return "sigmoid"
    if problem == "single_label_classification" or labels > 1:
        return "softmax"
    return str(config.get("function_to_apply") or "none")
