"""Imports the inference runtimes without what reports their use to their makers; it knows no session."""

import os
import sys
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

# Without it, importing ONNX Runtime keeps an id of the device under HOME, and queues there what it sends.
_OFF: Mapping[str, str] = MappingProxyType({"ORT_DISABLE_TELEMETRY": "1"})
# OpenVINO's Python package reports every import of it over the network, unless this package is missing.
_REPORTER = "openvino_telemetry"
_IMPORTING = threading.Lock()


def without_telemetry() -> dict[str, str]:
    """Return the environment for a child process that imports ONNX Runtime; what the user set stays."""
    return {**_OFF, **os.environ}


def onnxruntime_module() -> Any:
    """Import ONNX Runtime, which takes a moment; its variable stays as the user set it."""
    for name, value in _OFF.items():
        os.environ.setdefault(name, value)
    import onnxruntime

    return onnxruntime


def openvino_module() -> Any:
    """Import OpenVINO, which takes a tenth of a second."""
    with _IMPORTING:
        absent = _REPORTER not in sys.modules
        if absent:
            sys.modules[_REPORTER] = None  # type: ignore[assignment] - Python's mark of a module that is not there
        try:
            import openvino
        finally:
            if absent:
                del sys.modules[_REPORTER]
    return openvino
