import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from vitrify.profiles import Profile, ProfileError, Range, load_profile, profile_names

MINIMAL = """
description = "mine"
provider = "cpu"
precision = "fp32"
opset = 20
ir_version = 10
tolerance = { absolute = 1e-4 }
"""
UNSIGNED_INT8 = 'quantization = { mode = "static", symmetric = false }\nprecision = "int8"\ngraph_suffix = "_a"\n'
OPENVINO_INT8 = 'provider = "openvino"\nprecision = "int8"\ngraph_suffix = "_a"\nquantization = {}'
PRESETS = [
    *("cpu-bf16", "cpu-fp32", "cpu-fp32-openvino", "cpu-int8", "cpu-int8-bf16", "cpu-int8-static", "cpu-w4", "cpu-w8"),
    *("cuda-bf16", "cuda-fp16"),
    *("trt-bf16", "trt-fp16-latency", "trt-fp16-throughput", "trt-fp8", "trt-int8"),
]


def test_presets_are_these_and_each_loads():
    assert profile_names() == PRESETS
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
    assert profile.requires == (("amx_bf16",), ("avx512_bf16",))


@pytest.mark.parametrize("name", profile_names())
def test_json_and_back_is_the_same_profile(name):
    profile = load_profile(name)
    assert Profile.from_dict(json.loads(json.dumps(asdict(profile)))) == profile


def test_a_users_file_is_named_by_its_stem(tmp_path):
    path = tmp_path / "edge-box.toml"
    path.write_text(
        MINIMAL.replace('"cpu"', '"tensorrt"') + '[shape_ranges.read]\nbatch = "1:1:8"\nsequence = "~1:128:512"\n'
    )
    profile = load_profile(path)
    assert profile.name == "edge-box"
    assert profile.shape_ranges == {"read": {"batch": Range(1, 1, 8), "sequence": Range(1, 128, 512, shrinks=True)}}
    assert load_profile(str(path)) == profile
    assert str(profile.shape_ranges["read"]["sequence"]) == "~1:128:512"


def test_engines_in_half_precision_keep_softmax_and_norms_in_float32():
    for name in PRESETS:
        profile = load_profile(name)
        assert (profile.half is not None) == (profile.provider in {"cuda", "tensorrt"})
        if profile.provider == "tensorrt":
            assert profile.half.keep == ("Softmax", "LayerNormalization", "RMSNormalization")
            assert {"past" in axes for axes in profile.shape_ranges.values()} == {True, False}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("speed = 3", "unknown key 'speed' (known: name, description"),
        ('description = 3|description = "mine"', "'description' is 3, expected a sentence"),
        ('provider = "tpu"|provider = "cpu"', "'provider' is 'tpu', expected one of cpu, openvino, cuda"),
        ('precision = "fp4"|precision = "fp32"', "'precision' is 'fp4', expected one of fp32, bf16"),
        ('precision = "int8"|precision = "fp32"', "got precision 'int8' on 'cpu' without [quantization]"),
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
        ("quantization = {}", "got precision 'fp32' on 'cpu' with [quantization]"),
        ('requires = ["avx2"]', "'requires' is ('avx2',), expected a list of lists"),
        ("requires = [[]]", "'requires' is ((),)"),
        ('graph_suffix = "/../x"', "'graph_suffix' is '/../x'"),
        ('shape_ranges = { a = { sequence = "8:4:16" } }', "[shape_ranges.a], 'sequence': range 8:4:16: expected 0 <="),
        ('shape_ranges = { a = { sequence = "1:4" } }', "got '1:4', expected minimum:optimum:maximum"),
        ("shape_ranges = { a = { sequence = 4 } }", "got 4, expected minimum:optimum:maximum"),
        ("shape_ranges = { a = { sequence = { minimum = 1 } } }", "key 'optimum' is missing"),
        ('shape_ranges = { a = { sequenze = "1:4:8" } }', "no axis is called 'sequenze' (known: batch, sequence"),
        ('shape_ranges = { sequence = "1:4:8" }', "expected tables such as [shape_ranges.decode]"),
        ('shape_ranges = { a = { batch = "1:1:1" } }', "provider 'cpu' with [shape_ranges], which belongs to tensorrt"),
        ('provider = "tensorrt"|provider = "cpu"', "provider 'tensorrt' without [shape_ranges]"),
        (
            'quantization = { mode = "static" }\nprecision = "int8"\ngraph_suffix = "_a"|precision = "fp32"',
            "expected 'dynamic'",
        ),
        (
            f'{UNSIGNED_INT8}half = {{}}\nprovider = "tensorrt"|provider = "cpu"\nprecision = "fp32"',
            "TensorRT does not support zero points",
        ),
        (f'{OPENVINO_INT8}|provider = "cpu"\nprecision = "fp32"', "expected 'static'"),
        ('quantization = { mode = "other" }', "'mode' is 'other', expected one of dynamic, static"),
        ("half = {}", "precision 'fp32' on 'cpu' with [half], which belongs to fp16 and bf16"),
        ('precision = "fp16"|precision = "fp32"', "precision 'fp16' on 'cpu' without [half]"),
        ('half = { keep = "Softmax" }', "'keep' is 'Softmax', expected a list of operator types"),
        ('quantization = {}\nprecision = "int8"|precision = "fp32"', "'graph_suffix' is ''"),
        ("options = { a = [1] }", "'options' is {'a': [1]}"),
        ('name = "Two Words"', "'name' is 'Two Words'"),
        ('name = "auto"', "but not 'auto'"),
        (f'name = "{"a" * 65}"', "at most 64 lower-case letters"),
        ('weights = { bits = 4.0 }\nprecision = "w4"\ngraph_suffix = "_a"|precision = "fp32"', "'bits' is 4.0"),
        ("shape_ranges = { a = { sequence = { minimum = 'a', optimum = 1, maximum = 2 } } }", "expected 0 <= minimum"),
        (f"requires = {'[' * 300}{']' * 300}", "a list of lists of CPU features"),
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
        ("gpu", f"got 'gpu', expected one of {', '.join(PRESETS)}, or a path"),
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
