"""`doctor --tensorrt`: the engine is built for real, what runs it is numpy, right or wrong."""

import numpy as np
import pytest

from tests.fakes import FakeSession
from tests.machines import machine
from vitrify.export.engine.self_test import require_passed, try_engines
from vitrify.runtime.bundle.engines import read_sidecar
from vitrify.runtime.errors import EnvironmentMissing, IntegrityError

WITH_GPU = machine(gpus=("NVIDIA L4",))


def numpy_session(path, machine, *, gain=1.0):
    """Return what computes as the engine should, times `gain`."""
    assert machine is WITH_GPU
    assert path.stat().st_size > 1000, "no engine was built"
    engine = read_sidecar(path.with_suffix(".json"))

    def computes(feeds):
        states = feeds["states"]
        scores = np.exp(states @ states.transpose(0, 2, 1))
        return {"mixed": gain * (scores / scores.sum(-1, keepdims=True) @ states)[..., ::-1]}

    return FakeSession(computes, graph=path.name, inputs=engine.inputs, outputs=engine.outputs)


def wrong(path, machine):
    return numpy_session(path, machine, gain=1.1)


def refusing(path, machine):
    raise IntegrityError("the engine does not load")


def tried(opens, capability="89"):
    return try_engines(machine=WITH_GPU, capability=lambda: capability, opens=opens)


def test_an_engine_that_computes_what_numpy_does_works():
    found = tried(numpy_session)
    assert found["tensorrt-rtx"].startswith("works: built, loaded, run at two shapes")
    require_passed(found)


@pytest.mark.parametrize(
    ("opens", "capability", "said"),
    [
        (wrong, "89", "computes something else"),
        (refusing, "89", "the engine does not load"),
        (numpy_session, "90", "does not build for compute capability 90"),
    ],
)
def test_what_goes_wrong_is_said_and_is_no_pass(opens, capability, said):
    found = tried(opens, capability)
    assert said in found["tensorrt-rtx"]
    with pytest.raises(EnvironmentMissing, match="no engine works"):
        require_passed(found)


def test_a_build_that_fails_is_said():
    def broken(graph, engine, request, limits):
        return {"stage": "build", "reasons": [{"why": "no kernel"}]}

    found = try_engines(machine=WITH_GPU, capability=lambda: "89", build=broken, opens=numpy_session)
    assert found["tensorrt-rtx"] == "did not build (build): no kernel"


def test_without_a_gpu_the_command_says_so(vitrify):
    done = vitrify("doctor", "--tensorrt")
    assert (done.code, "needs an NVIDIA GPU" in done.err) == (8, True)
