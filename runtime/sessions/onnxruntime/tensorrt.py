"""ONNX Runtime's TensorRT provider, by onnxruntime-gpu: TensorRT computes the graph, or an error says what is missing.

It builds its engines when a session opens or first runs, which takes seconds to minutes.
"""

from .cuda import GpuWheelSession


class OrtTensorRtSession(GpuWheelSession):
    """A graph on ONNX Runtime's TensorRT provider; an option is, for example, `trt_builder_optimization_level`."""

    provider = "TensorrtExecutionProvider"
    remedy = (
        "onnxruntime-gpu links libnvinfer.so.10, so it does not work with TensorRT 11: "
        "pip install 'tensorrt-cu13==10.16.*' 'onnxruntime-gpu[cuda,cudnn]'"
    )
    modules = ("tensorrt",)
