"""What a profile may give its provider: for each provider the options by name, and the values that each accepts.

A profile travels in a bundle, so nothing here names a file, a folder, a library or an address, and nothing makes a
provider write a file.
"""

import re
import reprlib
from collections.abc import Mapping
from typing import Any

from .rules import ProfileError, Rule, text

_TEXT_FLAGS = ("0", "1")
_LARGEST = 2**63 - 1


def _words(*words: str) -> Rule:
    return (lambda value: isinstance(value, str) and value in words), f"one of {', '.join(words)}"


def _count(low: int, high: int) -> Rule:
    """Return the rule of a whole number, or of its decimal digits as a text."""
    words = f"a whole number from {low} to {high}"
    return (lambda value: (number := _whole(value)) is not None and low <= number <= high), words


def _whole(value: Any) -> int | None:
    digits = isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value)
    return int(value) if digits or type(value) is int else None


def _table(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


# ONNX Runtime's session config entries are texts; its providers' flags may be written as true and false too.
_ENTRY = (lambda value: type(value) in {str, int} and str(value) in _TEXT_FLAGS), "'0' or '1'"
_FLAG = (lambda value: isinstance(value, bool) or _ENTRY[0](value)), "true, false, '0' or '1'"
_TRUTH = (lambda value: isinstance(value, bool)), "true or false"
_NAMES = text(re.compile(r"[A-Za-z0-9_]*([;,][A-Za-z0-9_]+)*"), "names between ';' or ','")
_SHAPES = text(re.compile(r"[A-Za-z0-9_.:,/x-]{1,4096}"), "shapes such as 'input_ids:1x128'")
_DEVICE = _count(0, 255)
_BYTES = _count(0, _LARGEST)
_NUMBERS = _words("f32", "f16", "bf16")
_CACHED = _words("f32", "f16", "bf16", "u8", "u4", "i8")

OPTIONS: Mapping[str, Mapping[str, Rule]] = {
    # https://github.com/microsoft/onnxruntime/blob/main/include/onnxruntime/core/session/onnxruntime_session_options_config_keys.h
    "cpu": {
        **_table(
            _ENTRY,
            "session.x64quantprecision session.intra_op.allow_spinning session.inter_op.allow_spinning "
            "session.force_spinning_stop session.set_denormal_as_zero session.disable_prepacking "
            "session.disable_quant_qdq session.enable_quant_qdq_cleanup session.disable_double_qdq_remover "
            "optimization.enable_gelu_approximation optimization.enable_cast_chain_elimination "
            "mlas.enable_gemm_fastmath_arm64_bfloat16 mlas.use_lut_gemm",
        ),
        "session.dynamic_block_base": _count(0, 1024),
        "session.qdq_matmulnbits_accuracy_level": _count(0, 4),
        "optimization.disable_specified_optimizers": _NAMES,
    },
    # https://docs.openvino.ai/2026/openvino-workflow/running-inference/inference-devices-and-modes/cpu-device.html
    "openvino": {
        **_table(
            _TRUTH,
            "ENABLE_CPU_PINNING ENABLE_CPU_RESERVATION ENABLE_HYPER_THREADING ENABLE_TENSOR_PARALLEL "
            "CPU_DENORMALS_OPTIMIZATION",
        ),
        **_table(_CACHED, "KV_CACHE_PRECISION KEY_CACHE_PRECISION VALUE_CACHE_PRECISION"),
        **_table(_count(0, 2**16), "KEY_CACHE_GROUP_SIZE VALUE_CACHE_GROUP_SIZE DYNAMIC_QUANTIZATION_GROUP_SIZE"),
        "INFERENCE_PRECISION_HINT": _NUMBERS,
        "PERFORMANCE_HINT": _words("LATENCY", "THROUGHPUT", "CUMULATIVE_THROUGHPUT"),
        "PERFORMANCE_HINT_NUM_REQUESTS": _count(0, 1024),
        "EXECUTION_MODE_HINT": _words("PERFORMANCE", "ACCURACY"),
        "INFERENCE_NUM_THREADS": _count(1, 1024),
        "NUM_STREAMS": _count(1, 1024),
        "SCHEDULING_CORE_TYPE": _words("ANY_CORE", "PCORE_ONLY", "ECORE_ONLY"),
        "SNIPPETS_MODE": _words("ENABLE", "IGNORE_CALLBACK", "DISABLE"),
        "TBB_PARTITIONER": _words("STATIC", "AUTO"),
    },
    # https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html
    "cuda": {
        **_table(
            _FLAG,
            "enable_cuda_graph use_tf32 prefer_nhwc fuse_conv_bias do_copy_in_default_stream "
            "cudnn_conv_use_max_workspace cudnn_conv1d_pad_to_nc1d enable_skip_layer_norm_strict_mode "
            "tunable_op_enable tunable_op_tuning_enable use_ep_level_unified_stream",
        ),
        "device_id": _DEVICE,
        "gpu_mem_limit": _BYTES,
        "arena_extend_strategy": _words("kNextPowerOfTwo", "kSameAsRequested"),
        "cudnn_conv_algo_search": _words("EXHAUSTIVE", "HEURISTIC", "DEFAULT"),
        "sdpa_kernel": _count(0, 1024),
        "tunable_op_max_tuning_duration_ms": _count(0, 10**6),
    },
    # An engine was built with its options.
    "tensorrt": {},
    # https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html; its caches are files.
    "onnxruntime-tensorrt": {
        **_table(
            _FLAG,
            "trt_fp16_enable trt_bf16_enable trt_int8_enable trt_cuda_graph_enable trt_build_heuristics_enable "
            "trt_sparsity_enable trt_layer_norm_fp32_fallback trt_context_memory_sharing_enable "
            "trt_force_sequential_engine_build trt_detailed_build_log",
        ),
        **_table(_SHAPES, "trt_profile_min_shapes trt_profile_opt_shapes trt_profile_max_shapes"),
        "device_id": _DEVICE,
        "trt_max_workspace_size": _BYTES,
        "trt_max_partition_iterations": _count(1, 10**6),
        "trt_min_subgraph_size": _count(1, 10**6),
        "trt_builder_optimization_level": _count(0, 5),
        "trt_auxiliary_streams": _count(-1, 64),
        "trt_op_types_to_exclude": _NAMES,
    },
    # https://onnxruntime.ai/docs/execution-providers/TensorRTRTX-ExecutionProvider.html; its caches are files.
    "onnxruntime-tensorrt-rtx": {
        **_table(_FLAG, "enable_cuda_graph nv_cuda_graph_enable nv_detailed_build_log nv_multi_profile_enable"),
        **_table(_SHAPES, "nv_profile_min_shapes nv_profile_opt_shapes nv_profile_max_shapes"),
        **_table(_BYTES, "nv_max_workspace_size nv_max_shared_mem_size"),
        "device_id": _DEVICE,
    },
}


def check_options(what: str, provider: str, options: Mapping[str, Any]) -> None:
    """Raise ProfileError for an option that `provider` is not given, or a value that it does not accept."""
    allowed = OPTIONS[provider]
    for name, value in options.items():
        if name not in allowed:
            raise ProfileError(
                f"{what}, [options]: got {name!r:.80}, expected on '{provider}' "
                f"{'one of ' + ', '.join(sorted(allowed)) if allowed else 'no option'}"
            )
        holds, words = allowed[name]
        if not holds(value):
            raise ProfileError(f"{what}, [options]: '{name}' is {reprlib.repr(value)}, expected {words}")
