import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from vitrify.profiles import Profile, ProfileError, load_profile, profile_names

MINIMAL = """
description = "mine"
provider = "cpu"
precision = "fp32"
opset = 20
ir_version = 10
tolerance = { absolute = 1e-4 }
"""


def test_presets_are_these_and_each_loads():
    assert profile_names() == ["cpu-bf16", "cpu-fp32", "cpu-int8", "cpu-w4", "cpu-w8", "cuda-fp16"]
    for name in profile_names():
        assert load_profile(name).name == name


def test_default_promises_float32_within_the_stated_tolerance_on_any_cpu():
    profile = load_profile("cpu-fp32")
    assert (profile.provider, profile.precision, profile.graph_suffix) == ("cpu", "fp32", "")
    assert (profile.opset, profile.ir_version, profile.requires) == (20, 10, ())
    assert (profile.tolerance.absolute, profile.tolerance.relative, profile.tolerance.agreement) == (1e-4, 1e-5, 1.0)


def test_bf16_says_its_precision_and_what_cpu_it_needs():
    profile = load_profile("cpu-bf16")
    assert profile.options["INFERENCE_PRECISION_HINT"] == "bf16"
    assert profile.requires == (("amx_bf16",), ("intel", "avx512_bf16"))


@pytest.mark.parametrize("name", profile_names())
def test_json_and_back_is_the_same_profile(name):
    profile = load_profile(name)
    assert Profile.from_dict(json.loads(json.dumps(asdict(profile)))) == profile


def test_a_users_file_is_named_by_its_stem(tmp_path):
    path = tmp_path / "edge-box.toml"
    path.write_text(MINIMAL + "[shape_ranges]\nsequence = [1, 128, 512]\n")
    profile = load_profile(path)
    assert profile.name == "edge-box"
    assert profile.shape_ranges == {"sequence": (1, 128, 512)}
    assert load_profile(str(path)) == profile


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("speed = 3", "unknown key 'speed' (known: name, description"),
        ('description = 3|description = "mine"', "'description' is 3, expected a sentence"),
        ('provider = "tpu"|provider = "cpu"', "'provider' is 'tpu', expected one of cpu, openvino, cuda"),
        ('precision = "fp8"|precision = "fp32"', "'precision' is 'fp8', expected one of fp32, bf16"),
        ('precision = "int8"|precision = "fp32"', "got precision 'int8' without [quantization]"),
        ("opset = 20.0|opset = 20", "'opset' is 20.0, expected a whole number"),
        ("opset = true|opset = 20", "'opset' is True, expected a whole number"),
        ("ir_version = 99|ir_version = 10", "'ir_version' is 99, expected a whole number from 8 to 14"),
        ("|opset = 20", "key 'opset' is missing"),
        ("tolerance = 1e-4|tolerance = { absolute = 1e-4 }", "'tolerance' is 0.0001, expected a table"),
        ("tolerance = {}|tolerance = { absolute = 1e-4 }", "[tolerance]: key 'absolute' is missing"),
        ("tolerance = { absolute = -1 }|tolerance = { absolute = 1e-4 }", "'absolute' is -1"),
        ("tolerance = { absolute = nan }|tolerance = { absolute = 1e-4 }", "'absolute' is nan"),
        ("tolerance = { absolute = 0, agreement = 2 }|tolerance = { absolute = 1e-4 }", "'agreement' is 2"),
        ("quantization = { bits = 4 }", "[quantization]: unknown key 'bits'"),
        ("quantization = { per_channel = 1 }", "'per_channel' is 1, expected true or false"),
        ("quantization = {}", "got precision 'fp32' with [quantization]"),
        ('requires = ["avx2"]', "'requires' is ('avx2',), expected a list of lists"),
        ("requires = [[]]", "'requires' is ((),)"),
        ('graph_suffix = "/../x"', "'graph_suffix' is '/../x'"),
        ("shape_ranges = { sequence = [8, 4, 16] }", "minimum <= optimum <= maximum"),
        ("shape_ranges = { sequence = [1, 4] }", "minimum <= optimum <= maximum"),
        ("options = { a = [1] }", "'options' is {'a': [1]}"),
        ('name = "Two Words"', "'name' is 'Two Words'"),
        ("opset == 20", "is not TOML"),
    ],
)
def test_a_bad_file_is_refused_in_words(tmp_path, change, words):
    new, _, old = change.partition("|")
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL.replace(old, new) if old else f"{new}\n{MINIMAL}")
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpu", "got 'gpu', expected one of cpu-bf16, cpu-fp32, cpu-int8, cpu-w4, cpu-w8, cuda-fp16, or a path"),
        ("../profiles/cpu-fp32", "expected one of"),
        ("nowhere/mine.toml", "cannot be read (No such file or directory)"),
    ],
)
def test_an_unknown_profile_is_refused_in_words(name, words):
    with pytest.raises(ProfileError) as caught:
        load_profile(name)
    assert words in str(caught.value)


def test_only_the_standard_library_is_imported():
    code = (
        "import sys; from vitrify.profiles import load_profile; load_profile('cpu-fp32');"
        "print(*{name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names))"
    )
    out = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    own = {name for name in out.split() if not name.startswith(("_", "sitecustomize"))}
    assert "vitrify" in own
    assert not own & {"numpy", "onnxruntime", "torch", "transformers", "onnx", "tokenizers"}
