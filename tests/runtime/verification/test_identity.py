"""How far outputs are from those of the export: what counts as far, and what is stored to tell it."""

import numpy as np
import pytest

from vitrify.runtime.verification.identity import POSITIONS, WIDTH, condensed, identity_of, tolerated

WIDTHS = (1, 5, WIDTH, 1000)


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def distance(stored, found, inputs=None):
    pair = (condensed(inputs or {}, {"logits": stored}), condensed(inputs or {}, {"logits": found}))
    return identity_of([pair], 0.25).difference


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_noise_is_as_far_as_it_is_large(width, share):
    values = drawn(200, width)
    assert distance(values, values + share * drawn(200, width, seed=1)) == pytest.approx(share, rel=0.2)


@pytest.mark.parametrize("width", WIDTHS)
def test_outputs_that_say_nothing_are_far(width):
    values = 3 + drawn(200, width)
    assert distance(values, values) == 0
    assert distance(values, np.zeros_like(values)) > 0.9
    assert distance(values, np.broadcast_to(values.mean(0), values.shape)) == pytest.approx(1, abs=0.01)
    assert distance(values, values[::-1]) == pytest.approx(np.sqrt(2), rel=0.2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_no_number_is_not_overlooked(bad):
    values = drawn(200, 100)
    found = values.copy()
    found[7, 3] = bad
    assert not identity_of([(condensed({}, {"a": values}), condensed({}, {"a": found}))], 1e-3).passed


def test_the_farthest_output_counts_and_a_missing_one_is_infinitely_far():
    values, other = drawn(20, 5), drawn(20, 5, seed=1)
    stored, found = {"a": values, "b": other}, {"a": values, "b": -other}
    assert identity_of([(stored, found)], 0.25).difference == pytest.approx(2, rel=0.2)
    assert identity_of([(stored, {"a": values})], 0.25).difference == np.inf
    assert identity_of([(stored, {"a": values, "b": other[:, :4]})], 0.25).difference == np.inf
    assert not identity_of([], 0.25).passed


def test_what_never_varies_is_compared_on_its_magnitude():
    values = np.full((20, 5), 2.0, np.float32)
    assert distance(values, values * 1.001) < 0.02
    assert distance(values, 0 * values) >= 1
    assert distance(0 * values, 0 * values) == 0
    assert distance(0 * values, values) == np.inf


def test_masked_logits_do_not_drown_the_others():
    values = drawn(200, 100)
    values[:, 7] = np.finfo(np.float32).min
    assert distance(values, values) == 0
    assert distance(values, np.where(values < -1e9, values, -values)) > 1


def test_padded_positions_are_not_stored():
    mask = np.array([[1, 1, 1, 0], [1, 0, 0, 0]])
    stored = condensed({"attention_mask": mask}, {"states": drawn(2, 4, 8), "pooled": drawn(2, 8)})
    assert {name: value.shape for name, value in stored.items()} == {"states": (4, 8), "pooled": (2, 8)}


@pytest.mark.parametrize(("shape", "kept"), [((5000, 1000), (POSITIONS, WIDTH)), ((3, 7), (3, 7)), ((9,), (9, 1))])
def test_what_is_stored_is_bounded(shape, kept):
    (value,) = condensed({}, {"logits": drawn(*shape)}).values()
    assert (value.shape, value.dtype) == (kept, np.float32)


@pytest.mark.parametrize(("loss", "allowed"), [(0.01, 0.1), (0.2, 0.283), (0.9, 0.5), (np.inf, 0.5)])
def test_what_rounding_took_far_may_be_farther_but_never_as_far_as_nothing(loss, allowed):
    assert tolerated(0.1, loss) == pytest.approx(allowed, abs=0.001)


def test_the_signs_never_change():
    """Bundles that were exported before would fail."""
    (value,) = condensed({}, {"logits": np.arange(130, dtype=np.float32)[None]}).values()
    assert value[0, :6].tolist() == [1.0, 5.0, 1.0, -1.0, 1.0, -1.0]
