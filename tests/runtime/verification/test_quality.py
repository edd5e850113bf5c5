"""Distributions as a bundle stores them: what they tell of other logits, and what they never let pass."""

import numpy as np
import pytest

from vitrify.runtime.verification.quality import (
    LIKELIEST,
    Quality,
    QualityGate,
    likeliest,
    measure_quality,
    quality_beside,
)

GATE = QualityGate(agreement=0.5, kl_mean=0.5)


def test_another_cpu_may_tip_a_few_answers_over():
    gate = QualityGate(agreement=0.5, kl_mean=0.5).elsewhere()
    assert gate.passes(Quality(0.46, 0.55, 9.0))
    assert not gate.passes(Quality(0.44, 0.5, 9.0))
    assert not gate.passes(Quality(0.5, 0.61, 9.0))


def logits(vocabulary=2000, scale=3.0, seed=0):
    return (np.random.default_rng(seed).standard_normal((50, vocabulary)) * scale).astype(np.float32)


@pytest.mark.parametrize("vocabulary", [10, LIKELIEST, 2000])
@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
def test_it_is_the_whole_measure_s_lower_bound(vocabulary, noise):
    reference = logits(vocabulary)
    candidate = reference + noise * logits(vocabulary, seed=1) / 3
    whole, found = measure_quality(reference, candidate), quality_beside(likeliest(reference), candidate)
    assert found.agreement == whole.agreement
    assert found.kl_mean <= whole.kl_mean + 1e-6
    assert found.kl_mean >= whole.kl_mean / 3
    if vocabulary <= LIKELIEST:
        assert found.kl_mean == pytest.approx(whole.kl_mean, abs=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda given: 0 * given,
        lambda given: given[:1] + 0 * given,
        lambda given: given[::-1],
        lambda given: given * np.nan,
        lambda given: given[:, :7],
        lambda given: given[:9],
        lambda given: None,
    ],
    ids=["zeros", "constant", "shuffled", "nan", "narrow", "short", "none"],
)
def test_other_logits_never_pass(change):
    reference = logits()
    quality = quality_beside(likeliest(reference), change(reference))
    assert not GATE.passes(quality)
    assert not GATE.summary(quality, 50)["passed"]
