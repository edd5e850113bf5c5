"""Whatever shares a batch, answers are those of one input at a time: the text tasks on tiny real bundles."""

from random import Random

import numpy as np
import pytest

from tests.parity.compare import LONG, TEXTS, WORDS
from tests.parity.text_subjects import CLASSIFY, EXTRACT, FILL, TOKENS, TOLERANCE, ZERO_SHOT

CUT = {"truncation": True}
SUBJECTS = (
    (CLASSIFY, "bert", {"top_k": None, **CUT}),
    (TOKENS, "bert", {"ignore_labels": [], "aggregation_strategy": "simple", "stride": 9}),
    (TOKENS, "roberta", {"ignore_labels": []}),
    (ZERO_SHOT, "bart", {"candidate_labels": ["one", "another label", "a third one that is longer"]}),
    (FILL, "roberta", {"tokenizer_kwargs": CUT}),
    (EXTRACT, "bert", {"return_tensors": True, **CUT}),
    (EXTRACT, "bert", CUT),
)


def texts_for(pipe):
    draw = Random(0)
    texts = [*TEXTS, LONG, *(" ".join(draw.choices(WORDS, k=draw.randint(1, 30))) for _ in range(60))]
    return [f"{pipe.tokenizer.mask_token} {text}" for text in texts] if pipe.task == FILL else texts


@pytest.mark.parametrize(("task", "model_type", "options"), SUBJECTS, ids=str)
def test_answers_do_not_depend_on_the_batch(text_pair, task, model_type, options):
    pipe, _ = text_pair(task, model_type)
    texts = texts_for(pipe)
    alone = pipe(texts, **options)
    for size in (2, 7, 64):
        assert_close(list(pipe(iter(texts), batch_size=size, **options)), alone)


def assert_close(found, expected):
    """Compare results that may be nested; numbers may differ by rounding."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        assert_close(list(found.values()), list(expected.values()))
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    elif isinstance(expected, float | np.ndarray):
        np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    else:
        assert found == expected
