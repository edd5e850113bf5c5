"""`doctor --tensorrt`: the engine is built for real, what runs it is numpy, right or wrong."""

import numpy as np
import pytest

from tests.machines import machine
from vitrify.export.engine.self_test import require_passed, try_engines
from vitrify.runtime.bundle.engines import read_sidecar
from vitrify.runtime.errors import EnvironmentMissing, IntegrityError
from vitrify.runtime.sessions.base import Session

WITH_GPU = machine(gpus=("NVIDIA L4",))


class Numpy(Session):
    """What the engine should compute, times `gain`."""

    gain = 1.0

    def __init__(self, path, machine):
        engine = read_sidecar(path.with_suffix(".json"))
        assert machine is WITH_GPU
        assert path.stat().st_size > 1000, "no engine was built"
        super().__init__(graph=path.name, inputs=engine.inputs, outputs=engine.outputs, providers=("numpy",))

    def _run(self, feeds):
        states = feeds["states"]
        scores = np.exp(states @ states.transpose(0, 2, 1))
        return {"mixed": self.gain * (scores / scores.sum(-1, keepdims=True) @ states)[..., ::-1]}

    def close(self):
        pass


class Wrong(Numpy):
    gain = 1.1


class Refusing(Numpy):
    def __init__(self, path, machine):
        super().__init__(path, machine)
        raise IntegrityError("the engine does not load")


def tried(opens, capability="89"):
    return try_engines(machine=WITH_GPU, capability=lambda: capability, opens=opens)


def test_an_engine_that_computes_what_numpy_does_works():
    found = tried(Numpy)
    assert found["tensorrt-rtx"].startswith("works: built, loaded, run at two shapes")
    require_passed(found)


@pytest.mark.parametrize(
    ("opens", "capability", "said"),
    [
        (Wrong, "89", "computes something else"),
        (Refusing, "89", "the engine does not load"),
        (Numpy, "90", "does not build for compute capability 90"),
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

    found = try_engines(machine=WITH_GPU, capability=lambda: "89", build=broken, opens=Numpy)
    assert found["tensorrt-rtx"] == "did not build (build): no kernel"


def test_without_a_gpu_the_command_says_so(vitrify):
    done = vitrify("doctor", "--tensorrt")
    assert (done.code, "needs an NVIDIA GPU" in done.err) == (8, True)
