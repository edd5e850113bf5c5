"""The labels of a classifier, and the function of its scores, beside transformers' config of the same file."""

import pytest
import transformers

from vitrify.runtime.errors import IntegrityError
from vitrify.runtime.processing.labels import default_function, label_names

CONFIGS = [
    {},
    {"num_labels": 1},
    {"num_labels": 2},
    {"num_labels": 5},
    {"num_labels": 5, "problem_type": "multi_label_classification"},
    {"num_labels": 1, "problem_type": "regression"},
    {"id2label": {"0": "one"}},
    {"id2label": {"0": "a", "1": "b", "2": "c"}},
    {"id2label": None, "num_labels": 1},
    {"id2label": None, "num_labels": None},
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_labels_are_counted_and_named_as_in_transformers(config):
    theirs = transformers.BertConfig(**{name: value for name, value in config.items() if value is not None})
    assert label_names(config) == theirs.id2label
    wanted = {"regression": "none", "multi_label_classification": "sigmoid"}.get(theirs.problem_type)
    assert default_function(config) == (wanted or ("sigmoid" if theirs.num_labels == 1 else "softmax"))


@pytest.mark.parametrize("count", ["3", -1, 2.0, 10**12])
def test_what_counts_nothing_is_refused(count):
    with pytest.raises(IntegrityError, match="num_labels is"):
        label_names({"num_labels": count})
