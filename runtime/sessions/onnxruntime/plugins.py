"""Plugin providers: libraries that the stock ONNX Runtime loads when a process first asks; it knows none by name."""

import threading
from pathlib import Path
from typing import Any

# A process can register a library once; ONNX Runtime holds that state, this only orders threads.
_REGISTERING = threading.Lock()


def plugin_device(ort: Any, *, provider: str, registration: str, library: str | Path, kind: str) -> Any | None:
    """Return the first device of `kind` ("CPU", "GPU") that a plugin offers, or None.

    The library is registered, under the name `registration`, unless its devices are there already. What ONNX Runtime
    raises where the library does not load is left to the caller.
    """
    with _REGISTERING:
        device = _find_device(ort, provider, kind)
        if device is None:
            ort.register_execution_provider_library(registration, str(library))
            device = _find_device(ort, provider, kind)
    return device


def _find_device(ort: Any, provider: str, kind: str) -> Any | None:
    wanted = getattr(ort.OrtHardwareDeviceType, kind)
    found = (one for one in ort.get_ep_devices() if one.ep_name == provider and one.device.type == wanted)
    return next(found, None)
