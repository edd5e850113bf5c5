"""ONNX Runtime's module with made-up providers: sessions compute on the real CPU and say what a test wants."""

from types import SimpleNamespace

import onnxruntime

RECORD = "session.record_ep_graph_assignment_info"
GPU = onnxruntime.OrtHardwareDeviceType.GPU


class FakeOptions:
    """Session options: `entries`, and the plugin devices with what they are given."""

    def __init__(self):
        self.entries, self.devices = {}, []

    def add_session_config_entry(self, key, value):
        assert isinstance(value, str)
        self.entries[key] = value

    def add_provider_for_devices(self, devices, options):
        assert all(isinstance(value, str) for value in options.values())
        self.devices.append((devices, options))


class FakeValue(onnxruntime.OrtValue):
    """An OrtValue whose CUDA memory is the host's."""

    @classmethod
    def ortvalue_from_shape_and_type(cls, shape, element_type, device_type="cpu", device_id=0):
        assert device_type in {"cpu", "cuda"}
        value = super().ortvalue_from_shape_and_type(shape, element_type)
        value.device = device_type
        return value

    def numpy(self):
        return super().numpy().copy()  # as from a GPU


class FakeOnnxRuntime:
    """The module. It was built with the providers `built`; a session opens `opens`, and puts operators into `places`.

    Operators that `places` does not name go to the first provider that was opened. `offers` are the providers whose
    GPU a registered plugin shows; `asked` is what sessions were asked for; `printed` is what preloading prints.
    """

    SessionOptions = FakeOptions
    GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel
    OrtHardwareDeviceType = onnxruntime.OrtHardwareDeviceType
    RunOptions = onnxruntime.RunOptions
    OrtValue = FakeValue

    def __init__(self, *opens, built=(), places=None, offers=(), printed="", fails=None):
        self.opens, self.built, self.places = opens, (*built, "CPUExecutionProvider"), places or {}
        self.offers, self.printed, self.fails = offers, printed, fails
        self.asked, self.registered, self.sessions = [], [], []

    def get_available_providers(self):
        return list(self.built)

    def preload_dlls(self):
        print(self.printed)

    def register_execution_provider_library(self, name, path):
        if self.fails:
            raise self.fails
        assert name not in dict(self.registered), "registered twice"
        self.registered.append((name, path))

    def get_ep_devices(self):
        return [
            SimpleNamespace(ep_name=name, device=SimpleNamespace(type=GPU)) for name in self.offers if self.registered
        ]

    def InferenceSession(self, path, options, *, providers=None, enable_fallback=1):  # noqa: N802 - ONNX Runtime's name
        self.asked.append(SimpleNamespace(options=options, providers=providers, enable_fallback=enable_fallback))
        if self.fails:
            raise self.fails
        return FakeSession(self, path, records=options.entries.get(RECORD) == "1")


class FakeBinding:
    """What is bound of a session: names, the devices of values, and the real binding."""

    def __init__(self, session):
        self.real, self.values = session.io_binding(), {}

    def bind_ortvalue_input(self, name, value):
        self.values[name] = value
        self.real.bind_ortvalue_input(name, value)

    def bind_ortvalue_output(self, name, value):
        self.values[name] = value
        self.real.bind_ortvalue_output(name, value)

    def bind_output(self, name, device, *memory):
        assert device == "cpu" or (device == "cuda" and not memory)
        self.real.bind_output(name, "cpu", *memory)

    def bind_input(self, *arguments):
        self.real.bind_input(*arguments)

    def get_outputs(self):
        return self.real.get_outputs()


class FakeSession:
    """A session on the CPU that says it is elsewhere; like a real one it tells places only if it records them.

    `graphs` are the numbers of the CUDA graphs that runs were under, None for a run that was told of none.
    """

    def __init__(self, ort, path, *, records):
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry(RECORD, "1")
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._real = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._ort, self._records = ort, records
        self.graphs, self.addresses = [], {}
        ort.sessions.append(self)

    def __getattr__(self, name):
        return getattr(self._real, name)

    def io_binding(self):
        return FakeBinding(self._real)

    def run_with_iobinding(self, binding, run_options=None):
        self._note(run_options, binding)
        self._real.run_with_iobinding(binding.real)

    def run_with_ort_values(self, names, values, run_options=None):
        self._note(run_options, None)
        return self._real.run_with_ort_values(names, values)

    def _note(self, run_options, binding):
        graph = None if run_options is None else run_options.get_run_config_entry("gpu_graph_id")
        self.graphs.append(graph)
        if graph not in {None, "-1"}:
            values = binding.values
            assert all(getattr(value, "device", "cpu") == "cuda" for value in values.values()), "not on the GPU"
            addresses = {name: value.data_ptr() for name, value in values.items()}
            assert self.addresses.setdefault(graph, addresses) == addresses, "a CUDA graph's addresses are fixed"

    def get_providers(self):
        return list(self._ort.opens)

    def get_provider_graph_assignment_info(self):
        parts = self._real.get_provider_graph_assignment_info() if self._records else []
        return [self._part(node) for part in parts for node in part.get_nodes()]

    def _part(self, node):
        place = self._ort.places.get(node.op_type, self._ort.opens[0])
        return SimpleNamespace(ep_name=place, get_nodes=lambda: [node])
