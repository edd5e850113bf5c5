"""`profile=`, `dtype=` and `device=` name a profile by precision and provider, in a bundle or among the presets."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from vitrify import profiles
from vitrify.profiles import load_profile, profile_names
from vitrify.runtime.errors import UsageError
from vitrify.runtime.selection.requested import DEVICES, read_request

CPU, CUDA, OPEN = ("cpu", "-1", -1, "cpu:0"), ("cuda", "cuda:0", 0, "0"), (None, "auto")
WORDS = {
    "fp32": ("float32", "fp32", "torch.float32"),
    "bf16": ("bfloat16", "bf16", "torch.bfloat16"),
    "int8": ("int8", "torch.int8"),
    "fp16": ("float16", "fp16", "torch.float16"),
}
# By device and precision; None is the default profile, () a refusal.
PRESETS = {
    (OPEN, None): None,
    (OPEN, "fp32"): "cpu-fp32",
    (OPEN, "bf16"): "cpu-bf16",
    (OPEN, "int8"): "cpu-int8",
    (OPEN, "fp16"): "cuda-fp16",
    (CPU, None): None,
    (CPU, "fp32"): "cpu-fp32",
    (CPU, "bf16"): "cpu-bf16",
    (CPU, "int8"): "cpu-int8",
    (CPU, "fp16"): (),
    (CUDA, None): "cuda-fp16",
    (CUDA, "fp32"): (),
    (CUDA, "bf16"): "cuda-bf16",
    (CUDA, "int8"): (),
    (CUDA, "fp16"): "cuda-fp16",
}
CALLS = [
    (device, word, expected)
    for (devices, precision), expected in PRESETS.items()
    for device in devices
    for word in (WORDS[precision] if precision else ("auto", None))
]
# A name that no preset has, so that a bundle may hold profiles of its own.
OWN_CUDA = replace(load_profile("cuda-bf16"), name="mine", precision="fp32", half=None, graph_suffix="")


def asked(profile=None, *, dtype="auto", device=None, device_map=None):
    return read_request(profile=profile, dtype=dtype, device=device, device_map=device_map)


def built(*names):
    return {name: OWN_CUDA if name == "mine" else load_profile(name) for name in names}


@pytest.mark.parametrize(("device", "dtype", "expected"), CALLS)
@pytest.mark.parametrize("argument", ["device", "device_map"])
def test_a_checkpoint_is_compiled_for_the_preset(argument, device, dtype, expected):
    request = asked(dtype=dtype, **{argument: device})
    if expected == ():
        with pytest.raises(UsageError, match=r"^no profile runs \w+ on device '\w+' \(there: "):
            request.preset()
    else:
        assert request.preset() == expected


@pytest.mark.parametrize(("device", "dtype", "expected"), CALLS)
def test_a_bundle_of_every_preset_gives_the_same(device, dtype, expected):
    request = asked(dtype=dtype, device=device)
    every = built(*reversed(profile_names()))
    if expected == ():
        with pytest.raises(UsageError, match="no profile runs"):
            request.within(every)
    else:
        assert request.within(every) == (expected or ("cpu-fp32" if device in CPU else None))


@pytest.mark.parametrize(
    ("names", "arguments", "expected"),
    [
        (["cpu-int8-static", "cpu-int8-bf16"], {"dtype": "int8"}, "cpu-int8-static"),
        (["cpu-int8-static", "cpu-int8"], {"dtype": "int8"}, "cpu-int8"),
        (["cpu-fp32-openvino"], {"dtype": "float32"}, "cpu-fp32-openvino"),
        (["cpu-fp32", "cuda-bf16"], {"device": "cuda"}, "cuda-bf16"),
        (["cuda-bf16", "cuda-fp16"], {"device": 0}, "cuda-fp16"),
        (["cpu-fp32", "mine"], {"device": "cuda", "dtype": "float32"}, "mine"),
        (["cuda-bf16", "cpu-bf16"], {"dtype": "bfloat16"}, "cpu-bf16"),
        (["cuda-bf16"], {"dtype": "bfloat16"}, "cuda-bf16"),
        (["cuda-fp16", "cpu-bf16", "cpu-int8"], {"device": "cpu"}, "cpu-bf16"),
        (["cpu-bf16", "cpu-int8"], {"device": "cpu"}, None),
        (["cpu-bf16", "cpu-int8"], {"device": "auto"}, None),
        # Nothing of the kind is there: the name of what would be.
        (["cpu-fp32"], {"device": "cuda"}, "cuda-fp16"),
        (["cpu-fp32"], {"dtype": "int8"}, "cpu-int8"),
        (["trt-fp16-latency"], {"device": "cuda"}, "cuda-fp16"),
    ],
)
def test_a_bundle_is_asked_for_what_it_was_built_for(names, arguments, expected):
    assert asked(**arguments).within(built(*names)) == expected


def test_a_refusal_names_the_devices_profiles():
    with pytest.raises(UsageError) as caught:
        asked(dtype="float32", device="cuda").preset()
    assert str(caught.value) == (
        "no profile runs float32 on device 'cuda' (there: cuda-fp16, cuda-bf16): pass one of these as profile="
    )


@pytest.mark.parametrize("argument", ["device", "device_map"])
@pytest.mark.parametrize(
    "value", ["mps", "mps:0", "xpu", "meta", "gpu", -2, True, "cuda:one", "balanced", {"a": 0, "b": 1}]
)
def test_other_devices_are_refused_by_name(argument, value):
    with pytest.raises(UsageError) as caught:
        asked(**{argument: value})
    assert str(caught.value) == f"{argument} '{value}' is not supported (supported: cpu, cuda)"


def test_a_device_of_torch_is_known_by_its_text():
    class Place(SimpleNamespace):
        def __str__(self):
            return self.text

    assert asked(device=Place(text="cuda:0")).device == "cuda"
    assert asked(device_map={"": "cpu"}).device == "cpu"


@pytest.mark.parametrize(
    ("profile", "arguments"),
    [
        ("cpu-fp32", {"dtype": "float32", "device": "cpu"}),
        ("cpu-fp32-openvino", {"dtype": "float32"}),
        ("cpu-int8-static", {"dtype": "int8", "device": -1}),
        ("cuda-bf16", {"dtype": "bfloat16", "device": "cuda"}),
        ("trt-fp16-latency", {"dtype": "float16", "device": 0}),
        ("cpu-w4", {"device": "cpu"}),
        ("cuda-fp16", {}),
        ("auto", {}),
        ("auto", {"device": "cpu"}),
        ("q4", {"dtype": "float32"}),
    ],
)
def test_a_profile_that_agrees_is_kept(profile, arguments):
    assert asked(profile, **arguments).preset() == profile
    assert asked(profile, **arguments).within({}) == profile


@pytest.mark.parametrize(
    ("profile", "arguments"),
    [
        ("cpu-fp32", {"dtype": "bfloat16"}),
        ("cpu-fp32", {"device": "cuda"}),
        ("cuda-bf16", {"device": "cuda", "dtype": "float16"}),
        ("cuda-fp16", {"device": "cpu"}),
        ("trt-int8", {"device": -1}),
        ("cpu-w4", {"dtype": "float32"}),
    ],
)
def test_a_profile_that_contradicts_is_refused(profile, arguments):
    for refused in (lambda: asked(profile, **arguments).preset(), lambda: asked(profile, **arguments).within({})):
        with pytest.raises(UsageError, match=f"^profile '{profile}' runs .* is asked for too: pass the profile alone$"):
            refused()


@pytest.mark.parametrize("arguments", [{"dtype": "int8"}, {"device": "cuda"}])
def test_auto_finds_the_precision_itself(arguments):
    with pytest.raises(UsageError, match=r"^profile 'auto' finds the precision"):
        asked("auto", **arguments).preset()


def test_a_profile_of_the_bundles_own_is_compared_too():
    assert asked("mine", dtype="float32", device="cuda").within(built("mine")) == "mine"
    with pytest.raises(UsageError, match="'mine' runs float32 on device 'cuda'"):
        asked("mine", device="cpu").within(built("mine"))


def test_a_file_is_compiled_by_its_path_and_run_by_its_name(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text((Path(profiles.__file__).parent / "cpu-int8.toml").read_text())
    assert asked(str(path)).preset() == str(path)
    assert asked(str(path)).within({}) == "own"
    with pytest.raises(UsageError, match="'own' runs int8"):
        asked(str(path), dtype="float32").preset()


def test_unknown_and_double_arguments():
    with pytest.raises(UsageError, match="dtype must be one of auto, float32"):
        asked(dtype="float64")
    with pytest.raises(UsageError, match="both given: keep one"):
        asked(device="cpu", device_map="auto")


def test_every_providers_device_is_a_row():
    chosen = {provider for row in DEVICES.values() for provider in row.providers}
    assert chosen <= {load_profile(name).provider for name in profile_names()}
