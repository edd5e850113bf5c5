"""TensorRT as far as a session knows it, over a fake GPU: it runs one engine, whose kernel is a Python function."""

import weakref
from types import SimpleNamespace

import numpy as np

_NAMES = {"float32": "FLOAT", "bfloat16": "BF16", "int64": "INT64"}


class FakeTensorRt:
    """The module. `kernel` maps the engine's inputs to its outputs, `shapes` their shapes; `refuses` is the plan's end.

    `plans` are what was deserialized, `ran` the optimization profile and input shapes of each run, `compiled` the
    profiles that were not in the runtime cache, `alive` the engines and contexts that nobody let go of.
    """

    ILogger = type("ILogger", (), {"__init__": lambda self: None})

    def __init__(self, gpu, engine, *, kernel, shapes, version="1.7.1.116"):
        self.__version__ = version
        self.gpu, self.sidecar, self.kernel, self.shapes = gpu, engine, kernel, shapes
        self.plans, self.ran, self.compiled, self.alive = [], [], [], weakref.WeakSet()
        self.described, self.location = engine, "DEVICE"
        self.refuses, self.fails, self.full = False, False, False
        self.refitted, self.incomplete = [], False
        self.made = 0

    def Runtime(self, log):  # noqa: N802 - TensorRT's name
        self.log = log
        return SimpleNamespace(deserialize_cuda_engine=self._deserialize)

    def Refitter(self, engine, log):  # noqa: N802 - TensorRT's name
        return SimpleNamespace(engine=engine, refit_cuda_engine=lambda: not self.fails)

    def OnnxParserRefitter(self, refitter, log):  # noqa: N802 - TensorRT's name
        def refit(path):
            self.refitted.append(path)
            if self.incomplete:
                self.complain("weight 'w' is missing")
            return not self.incomplete

        return SimpleNamespace(refit_from_file=refit)

    def complain(self, text):
        self.log.log(SimpleNamespace(name="ERROR"), text)

    def _deserialize(self, plan):
        self.plans.append(plan)
        if self.refuses:
            return self.complain("a GPU\n  too small")
        return FakeEngine(self)


class FakeEngine:
    def __init__(self, trt):
        self.trt = trt
        trt.alive.add(self)
        tensors = (*trt.described.inputs, *trt.described.outputs)
        self._dtypes = {tensor.name: tensor.dtype for tensor in tensors}
        self.num_io_tensors = len(tensors)
        self.num_optimization_profiles = max(1, len(trt.described.shapes))

    def get_tensor_name(self, index):
        return list(self._dtypes)[index]

    def get_tensor_dtype(self, name):
        return SimpleNamespace(name=_NAMES[self._dtypes[name]])

    def get_tensor_location(self, name):
        return SimpleNamespace(name=self.trt.location)

    def create_runtime_config(self):
        return FakeRuntimeConfig()

    def create_execution_context(self, config=None):
        if self.trt.full:
            return self.trt.complain("no memory")
        self.trt.made += 1
        context = FakeContext(self.trt, config)
        self.trt.alive.add(context)
        return context


class FakeRuntimeConfig:
    cache = None

    def create_runtime_cache(self):
        return FakeRuntimeCache()

    def set_runtime_cache(self, cache):
        self.cache = cache
        return True


class FakeRuntimeCache:
    """Holds the numbers of compiled profiles; refuses what is not its own format."""

    def __init__(self):
        self.profiles = set()

    def deserialize(self, blob):
        if not blob.startswith(b"cache"):
            return False
        self.profiles = set(blob[5:])
        return True

    def serialize(self):
        return memoryview(b"cache" + bytes(sorted(self.profiles)))


class FakeContext:
    """An execution context: shapes are forgotten when the profile changes, and one thread at a time may use it."""

    def __init__(self, trt, config):
        self.trt, self.config = trt, config
        self.profile, self.given, self.addresses, self.pending = None, {}, {}, False

    def set_optimization_profile_async(self, profile, stream):
        self._check_free()
        assert stream in self.trt.gpu.streams
        self.profile, self.given = profile, {}
        return 0 <= profile < max(1, len(self.trt.described.shapes))

    def set_input_shape(self, name, shape):
        self._check_free()
        if self.profile is None:
            return False
        sets = list(self.trt.described.shapes.values())
        low, _, high = sets[self.profile].get(name, (shape,) * 3) if sets else (shape,) * 3
        self.given[name] = tuple(shape)
        return all(least <= size <= most for least, size, most in zip(low, shape, high, strict=True))

    def get_tensor_shape(self, name):
        if len(self.given) < len(self.trt.described.inputs):
            return (-1,)
        return self.trt.shapes(self.given)[name]

    def set_tensor_address(self, name, address):
        self._check_free()
        assert address in self.trt.gpu.memory
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        self._check_free()
        if self.trt.fails:
            self.trt.complain("a kernel fell over")
            return False
        assert len(self.addresses) == len(self.trt.described.inputs) + len(self.trt.described.outputs)
        self.pending = True
        self._compile()
        self.trt.ran.append((self.profile, dict(self.given)))
        self.trt.gpu.enqueue(stream, self._compute, *self.addresses.values())
        return True

    def _compile(self):
        if self.config is None or self.profile not in self.config.cache.profiles:
            self.trt.compiled.append(self.profile)
        if self.config is not None:
            self.config.cache.profiles.add(self.profile)

    def _compute(self):
        gpu, inputs = self.trt.gpu, self.trt.described.inputs
        arrays = {one.name: gpu.read(self.addresses[one.name], one.array_dtype, self.given[one.name]) for one in inputs}
        for name, array in self.trt.kernel(**arrays).items():
            gpu.write(self.addresses[name], np.ascontiguousarray(array))
        self.pending = False

    def _check_free(self):
        assert not self.pending, "two runs use one context"
