import gc

import ml_dtypes
import numpy as np
import onnx
import pytest

from tests.graphs import GROWING
from vitrify.runtime.errors import UsageError
from vitrify.runtime.graphs.signature import Tensor
from vitrify.runtime.sessions import open_session


def bits(*numbers):
    return np.array([numbers], ml_dtypes.bfloat16).view(np.uint16)


@pytest.fixture
def session(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(GROWING), path)
    with open_session(path, provider="cpu") as session:
        yield session


def test_a_tensor_is_bfloat16_and_its_arrays_are_bits(session):
    tensor = session.inputs[1]
    assert tensor == Tensor("cache", "bfloat16", ("batch", "past"))
    assert (tensor.array_dtype, tensor.is_bits) == (np.uint16, True)
    assert str(tensor) == "bfloat16[batch, past] (as uint16 bits)"
    assert (Tensor("x", "float16", ()).array_dtype, Tensor("x", "uint16", ()).is_bits) == (np.float16, False)


def test_bits_go_in_and_come_out_unchanged(session):
    cache = np.zeros((1, 0), np.uint16)
    for step in range(1, 5):
        outputs = session.run({"fresh": np.full((1, 1), step, np.float32), "cache": cache})
        cache = outputs["present"]
        assert cache.dtype == np.uint16
        np.testing.assert_array_equal(cache, bits(*range(1, step + 1)))
        np.testing.assert_array_equal(outputs["seen"], [range(1, step + 1)])


def test_bits_outlive_the_run_that_made_them(session):
    kept = [session.run({"fresh": np.full((1, 300), one, np.float32), "cache": bits()})["present"] for one in range(9)]
    gc.collect()
    assert [array[0, 299] for array in kept] == [bits(one)[0, 0] for one in range(9)]


def test_an_empty_output_is_empty(session):
    outputs = session.run({"fresh": np.zeros((2, 0), np.float32), "cache": np.zeros((2, 0), np.uint16)})
    assert outputs["present"].shape == (2, 0)


def test_bits_may_be_strided(session):
    cache = np.arange(6, dtype=np.uint16).reshape(2, 3)[:, ::2]
    outputs = session.run({"fresh": np.zeros((2, 0), np.float32), "cache": cache})
    np.testing.assert_array_equal(outputs["present"], cache)


def test_bound_arrays_hold_bits(session):
    feeds = {"fresh": np.ones((1, 1), np.float32), "cache": bits(3, 4)}
    outputs = {"present": np.zeros((1, 3), np.uint16), "seen": np.zeros((1, 3), np.float32)}
    run = session.bind(feeds, outputs)
    for step in (1, 2):
        feeds["fresh"][:] = step
        run()
        np.testing.assert_array_equal(outputs["present"], bits(3, 4, step))
        np.testing.assert_array_equal(outputs["seen"], [[3, 4, step]])


@pytest.mark.parametrize("dtype", ["uint8", "bool", "int16", "float16", "float32", ml_dtypes.bfloat16])
def test_numbers_are_never_taken_for_bits(session, dtype):
    with pytest.raises(UsageError, match=r"expected bfloat16\[batch, past\] \(as uint16 bits\)"):
        session.run({"fresh": np.ones((1, 1), np.float32), "cache": np.ones((1, 2), dtype)})
