"""What a profile may give its provider: nothing that names a file or makes the provider write one."""

import json
import re
import shutil
from dataclasses import asdict, replace

import pytest

from vitrify.profiles import PROVIDERS, Profile, ProfileError, load_profile, profile_names
from vitrify.profiles.options import OPTIONS, check_options
from vitrify.runtime.bundle.manifest import MANIFEST, Bundle
from vitrify.runtime.errors import IntegrityError
from vitrify.runtime.selection.tuned import Tuned

PRESETS = {load_profile(name).provider: load_profile(name) for name in profile_names()}
FORBIDDEN = {
    "cpu": "session.optimized_model_filepath session.load_model_format ep.context_file_path ep.context_enable "
    "session.model_external_initializers_file_folder_path session.save_external_prepacked_constant_initializers "
    "session.optimized_model_external_initializers_file_name session.use_ort_model_bytes_directly "
    "session.record_ep_graph_assignment_info session.debug_layout_transformation session.custom_library_path",
    "openvino": "CACHE_DIR CACHE_MODE WEIGHTS_PATH CONFIG_PATH DUMP_PATH ENABLE_WEIGHTLESS LOG_LEVEL cache_dir",
    "cuda": "user_compute_stream has_user_compute_stream gpu_external_alloc gpu_external_free default_memory_arena_cfg",
    "tensorrt": "device_id engine_cache_path",
    "onnxruntime-tensorrt": "trt_engine_cache_path trt_engine_cache_enable trt_timing_cache_enable "
    "trt_timing_cache_path trt_extra_plugin_lib_paths trt_dump_subgraphs trt_dump_ep_context_model "
    "trt_ep_context_file_path trt_onnx_model_folder_path trt_int8_calibration_table_name user_compute_stream "
    "trt_engine_decryption_lib_path trt_weight_stripped_engine_enable",
    "onnxruntime-tensorrt-rtx": "nv_runtime_cache_path nv_dump_subgraphs user_compute_stream nv_onnx_bytestream",
}
EVERYWHERE = ("vitrify.trace", "vitrify.packed", "vitrify.varied", "vitrify.anything", "", "a\nb")
REFUSED = [(provider, name) for provider in PROVIDERS for name in (*FORBIDDEN[provider].split(), *EVERYWHERE)]


@pytest.mark.parametrize(("provider", "name"), REFUSED)
def test_what_names_a_file_or_is_unknown_is_refused(provider, name):
    for value in ("1", "/tmp/written", True):
        with pytest.raises(ProfileError, match="expected on") as caught:
            check_options("profile 'mine'", provider, {name: value})
        assert "\n" not in str(caught.value)


def test_every_provider_has_its_row_and_no_row_names_a_place():
    assert set(OPTIONS) == set(PROVIDERS) == set(FORBIDDEN)
    places = {"path", "filepath", "file", "filename", "folder", "dir", "dll", "lib", "dump", "vitrify", "cache"}
    names = {name for row in OPTIONS.values() for name in row if not name.startswith(("KV_", "KEY_", "VALUE_"))}
    assert not [name for name in names if places & set(re.split(r"[._]", name.lower()))]


@pytest.mark.parametrize(
    ("provider", "name", "good", "bad"),
    [
        ("cpu", "session.x64quantprecision", ("1", "0", 1), ("2", "", True, -1, "/tmp")),
        ("cpu", "session.intra_op.allow_spinning", ("0",), ("no", False)),
        ("cpu", "optimization.disable_specified_optimizers", ("", "SkipLayerNormFusion", "A;B"), ("../a", "/tmp", 1)),
        ("cpu", "session.dynamic_block_base", ("4", 4), ("four", -1, "9" * 30)),
        ("openvino", "INFERENCE_PRECISION_HINT", ("f32", "bf16"), ("int8", 1)),
        ("openvino", "NUM_STREAMS", (2, "2"), (0, True, "AUTO/tmp")),
        ("openvino", "ENABLE_CPU_PINNING", (True, False), ("yes",)),
        ("cuda", "enable_cuda_graph", ("1", True, 0), ("2", "on")),
        ("cuda", "gpu_mem_limit", (2**33, "8589934592"), (-1, "8G")),
        ("onnxruntime-tensorrt", "trt_profile_min_shapes", ("ids:1x8,mask:1x8",), ("a b", "", 1)),
    ],
)
def test_options_accept_their_values_only(provider, name, good, bad):
    for value in good:
        check_options("mine", provider, {name: value})
    for value in bad:
        with pytest.raises(ProfileError, match=f"'{name}' is .*, expected"):
            check_options("mine", provider, {name: value})


@pytest.mark.parametrize(("provider", "name"), [pair for pair in REFUSED if pair[0] in PRESETS])
def test_a_profile_with_such_an_option_is_not_made(provider, name):
    content = {**json.loads(json.dumps(asdict(PRESETS[provider]))), "options": {name: "1"}}
    with pytest.raises(ProfileError, match=r"\[options\]"):
        Profile.from_dict(content)


def test_a_file_of_the_user_with_such_an_option_is_a_usage_error(vitrify, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'description = "mine"\nprovider = "openvino"\nprecision = "fp32"\nopset = 20\nir_version = 10\n'
        'tolerance = { absolute = 1e-4 }\noptions = { CACHE_DIR = "cache" }\n'
    )
    done = vitrify("export", tmp_path / "nothing", "-o", tmp_path / "bundle", "--profile", path)
    assert done.code == 2
    assert "CACHE_DIR" in done.err
    assert "INFERENCE_PRECISION_HINT" in done.err


@pytest.mark.parametrize(("provider", "name"), [("cpu", "vitrify.trace"), ("openvino", "CACHE_DIR")])
def test_a_bundle_with_such_an_option_is_not_read(exported, tmp_path, provider, name):
    shutil.copytree(exported.bundle, tmp_path / "bundle")
    path = tmp_path / "bundle" / MANIFEST
    content = json.loads(path.read_text())
    content["builds"]["cpu-fp32"]["profile"] |= {"provider": provider, "options": {name: str(tmp_path / "written")}}
    path.write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match=name) as caught:
        Bundle.read(tmp_path / "bundle")
    assert caught.value.exit_code == 7


def test_what_was_tuned_goes_through_the_same_table():
    good = Tuned("cpu-fp32", 1, 0.0, {}, {"session.intra_op.allow_spinning": "0"})
    with pytest.raises(ProfileError, match="context_file_path"):
        replace(good, entries={"ep.context_file_path": "elsewhere"})
