from dataclasses import replace

import pytest

from tests.machines import machine
from vitrify.profiles import load_profile
from vitrify.runtime.errors import DependencyMissing, EnvironmentMissing, UsageError
from vitrify.runtime.selection.profiles import check_machine, choose_profile

AMX = ("avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
ALL = ("cpu-fp32", "cpu-fp32-openvino", "cpu-bf16", "cpu-int8", "cpu-int8-static", "cuda-fp16")
EVERYTHING = frozenset({"onnxruntime", "openvino"})
NO_OPENVINO = frozenset({"onnxruntime"})
DRIFT = {
    "cpu-fp32": 1e-6,
    "cpu-fp32-openvino": 1e-6,
    "cuda-fp16": 0.001,
    "cpu-bf16": 0.01,
    "cpu-int8": 0.03,
    "cpu-int8-static": 0.03,
}


def choose(features, *, names=ALL, drift=DRIFT, max_drift=0.05, installed=EVERYTHING):
    profiles = [load_profile(name) for name in names]
    return choose_profile(
        machine(*features), candidates=profiles, drift=drift, max_drift=max_drift, installed=installed
    )


@pytest.mark.parametrize(
    ("features", "installed", "max_drift", "chosen"),
    [
        (AMX, EVERYTHING, 0.05, "cpu-bf16"),
        (AMX, EVERYTHING, 0.01, "cpu-bf16"),
        (AMX, EVERYTHING, 0.005, "cpu-fp32"),
        (AMX, NO_OPENVINO, 0.05, "cpu-int8"),
        (AMX, NO_OPENVINO, 0.02, "cpu-fp32"),
        (("avx512_vnni",), EVERYTHING, 0.05, "cpu-int8-static"),
        (("avx_vnni",), EVERYTHING, 0.05, "cpu-int8-static"),
        (("avx512_vnni",), NO_OPENVINO, 0.05, "cpu-int8"),
        (("avx_vnni",), NO_OPENVINO, 0.05, "cpu-int8"),
        (("intel", "avx512_vnni", "avx512_bf16"), EVERYTHING, 0.05, "cpu-int8-static"),
        (("avx512_vnni", "avx512_bf16"), EVERYTHING, 0.02, "cpu-bf16"),
        (("avx512_vnni", "avx512_bf16"), NO_OPENVINO, 0.02, "cpu-fp32"),
        (("avx2",), EVERYTHING, 1.0, "cpu-fp32"),
        (("i8mm", "bf16"), EVERYTHING, 1.0, "cpu-fp32"),
        ((), EVERYTHING, 0.0001, "cpu-fp32"),
    ],
)
def test_the_fastest_that_the_machine_can_and_drift_allows(features, installed, max_drift, chosen):
    choice = choose(features, installed=installed, max_drift=max_drift)
    assert choice.profile.name == chosen
    assert len(choice.reasons) == len(ALL)
    assert next(reason for reason in choice.reasons if ": chosen" in reason).startswith(chosen)


def test_reasons_say_why_the_others_were_passed_over():
    reasons = dict(reason.split(": ", 1) for reason in choose(("avx512_vnni",), max_drift=0.01).reasons)
    needed = "a CPU with amx_bf16 or avx512_bf16"
    assert reasons["cpu-bf16"].startswith(f"passed over, profile 'cpu-bf16' needs {needed}")
    assert reasons["cpu-int8"] == "passed over, its max relative error 0.03 is more than the accepted 0.01"
    assert reasons["cpu-fp32"].startswith("chosen, ")
    assert "needs openvino, which is not installed" in " ".join(choose(AMX, installed=NO_OPENVINO).reasons)


@pytest.mark.parametrize("recorded", [{}, {"cpu-int8": float("nan")}])
def test_an_unknown_drift_is_never_accepted(recorded):
    assert choose(AMX, drift=recorded, max_drift=1.0, installed=NO_OPENVINO).profile.name == "cpu-fp32"


def test_only_what_the_bundle_holds_is_chosen():
    assert choose(AMX, names=("cpu-fp32",)).profile.name == "cpu-fp32"
    with pytest.raises(
        EnvironmentMissing, match=r"none of the bundle's profiles will do .*cpu-bf16: profile 'cpu-bf16' needs a CPU"
    ):
        choose(("avx2",), names=("cpu-bf16",))
    with pytest.raises(UsageError, match="contains no profile"):
        choose(AMX, names=())


def test_a_float32_build_that_drifts_is_refused():
    with pytest.raises(EnvironmentMissing, match=r"its max relative error 0\.5 is more"):
        choose((), names=("cpu-fp32",), drift={"cpu-fp32": 0.5})


def test_a_users_profile_is_judged_by_provider_and_precision():
    own = replace(load_profile("cpu-int8"), name="mine")
    choice = choose_profile(
        machine("amx_int8"), candidates=[own], drift={"mine": 0.01}, max_drift=0.02, installed=NO_OPENVINO
    )
    assert choice.profile is own


@pytest.mark.parametrize(
    ("name", "features", "installed", "error", "words"),
    [
        ("cpu-bf16", ("avx2",), EVERYTHING, EnvironmentMissing, "needs a CPU with amx_bf16 or avx512_bf16"),
        ("cpu-bf16", AMX, NO_OPENVINO, DependencyMissing, r"pip install 'vitrify\[openvino\]'"),
        ("cuda-fp16", AMX, EVERYTHING, EnvironmentMissing, "needs an NVIDIA GPU"),
        ("cuda-fp16", AMX, frozenset(), EnvironmentMissing, "needs an NVIDIA GPU"),
        ("trt-fp16-latency", AMX, EVERYTHING, EnvironmentMissing, "needs an NVIDIA GPU"),
        ("cpu-fp32", (), frozenset(), DependencyMissing, r"pip install 'vitrify\[cpu\]'"),
    ],
)
def test_a_profile_that_cannot_run_here_says_what_is_missing(name, features, installed, error, words):
    with pytest.raises(error, match=words):
        check_machine(load_profile(name), machine(*features), installed=installed)


@pytest.mark.parametrize(
    ("name", "here", "installed"),
    [
        ("cpu-bf16", machine("avx512_bf16"), {"openvino"}),
        ("cpu-int8-static", machine("avx_vnni"), {"openvino"}),
        ("cpu-int8", machine(), NO_OPENVINO),
        ("cuda-fp16", machine(gpus=("L4",)), {"onnxruntime-gpu"}),
        ("trt-fp16-latency", machine(gpus=("L4",)), {"tensorrt-rtx"}),
    ],
)
def test_a_profile_that_can_run_here_lacks_nothing_but_its_package(name, here, installed):
    profile = load_profile(name)
    assert check_machine(profile, here, installed=installed) is None
    with pytest.raises(DependencyMissing):
        check_machine(profile, here, installed=frozenset())


def test_a_gpu_without_its_package_is_not_enough():
    with pytest.raises(DependencyMissing, match=r"onnxruntime-gpu.*pip install 'vitrify\[gpu\]'"):
        check_machine(load_profile("cuda-fp16"), machine(gpus=("L4",)), installed=EVERYTHING)


def test_a_gpu_profile_is_not_chosen_by_itself():
    names = ("cpu-fp32", "cuda-fp16")
    choice = choose_profile(
        machine(gpus=("L4",)),
        candidates=[load_profile(name) for name in names],
        drift=DRIFT,
        max_drift=1.0,
        installed={"onnxruntime-gpu"},
    )
    assert choice.profile.name == "cpu-fp32"
    assert "nothing is known of the speed of fp16 on 'cuda' here" in " ".join(choice.reasons)
