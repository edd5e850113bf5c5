"""From logits to scores, in float32 as the mirrored pipelines compute them."""

import numpy as np


def softmax(logits: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return exp(x - max) / sum along `axis`; a row never overflows."""
    shifted = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return shifted / shifted.sum(axis=axis, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)), computed so that neither end overflows."""
    return np.where(logits >= 0, 1 / (1 + np.exp(-np.abs(logits))), 1 - 1 / (1 + np.exp(-np.abs(logits)))).astype(
        logits.dtype
    )


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


def ranked(scores: np.ndarray, count: int | None) -> list[int]:
    """Return the indices of the `count` highest scores, best first, equal scores in index order; None means all."""
    order = np.argsort(-scores, kind="stable")
    return [int(index) for index in order[:count]]
