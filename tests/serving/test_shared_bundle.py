"""A bundle whose graphs run in the executor gives the pipeline's results, and int8 never mixes requests."""

import numpy as np
import pytest

from tests.serving.test_executor import SECONDS, Busy
from vitrify import load_bundle, pipeline
from vitrify.serving.executor import Executor, Ticket
from vitrify.serving.shared_bundle import SharedBundle

NORMAL = ["the quick brown fox", "My name is Sarah and I live in London"]
OUTLIER = "fox " * 100
CLOSE = 1e-5


@pytest.fixture(scope="module", params=["cpu-fp32", "cpu-int8"])
def loaded(request, bundles):
    return load_bundle(bundles["embedder"], profile=request.param)


@pytest.fixture
def executor():
    made = Executor()
    yield made
    made.close()


def test_requests_that_wait_together_get_what_each_gets_alone(loaded, executor):
    """An outlier beside normal texts changes none of them: of a profile that scales by the batch each runs alone."""
    texts = [*NORMAL, OUTLIER, "a", *NORMAL]
    ours, shared = pipeline("text-embedding", loaded), SharedBundle.of(loaded, executor)
    embed = pipeline("text-embedding", shared)
    shared.open()
    before = executor.runs
    with Busy(executor) as busy:
        calls = [busy.start(lambda text=text: embed(text), Ticket(SECONDS)) for text in texts]
    for text, call in zip(texts, calls, strict=True):
        np.testing.assert_allclose(call.result, ours(text), atol=CLOSE)
    runs = executor.runs - before - 1
    assert runs == len(texts) if loaded.profile.name == "cpu-int8" else runs < len(texts)


def test_a_list_of_texts_gives_what_each_gives_alone(loaded, executor):
    texts = [*NORMAL, OUTLIER, "a"] * 5
    ours, embed = pipeline("text-embedding", loaded), pipeline("text-embedding", SharedBundle.of(loaded, executor))
    np.testing.assert_allclose(embed(texts, batch_size=8), [ours(text) for text in texts], atol=CLOSE)


def test_the_profile_says_whether_rows_may_mix(loaded, executor):
    assert (SharedBundle.of(loaded, executor).most == 1) is (loaded.profile.name == "cpu-int8")


def test_an_error_in_a_graph_reaches_its_request(loaded, executor):
    embed = pipeline("text-embedding", SharedBundle.of(loaded, executor))
    with Busy(executor) as busy:
        calls = [busy.start(lambda given=given: embed.model(**given), Ticket(SECONDS)) for given in feeds(embed)]
    assert [call.error is None for call in calls] == [True, False]


def feeds(embed):
    good = {name: each for name, each in embed.tokenizer(["a text"]).items() if name in embed.model.input_names}
    return good, {**good, "input_ids": good["input_ids"] + 10**6}
