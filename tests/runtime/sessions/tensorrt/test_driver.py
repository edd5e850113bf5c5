import concurrent.futures

import numpy as np
import pytest

from tests.runtime.sessions.fake_gpu import FakeGpu
from tests.runtime.sessions.tensorrt.fake_cuda import PROTOTYPES, FakeCuda
from vitrify.runtime.errors import EnvironmentMissing
from vitrify.runtime.machine import this_machine
from vitrify.runtime.sessions.tensorrt.driver import CudaDriver


@pytest.fixture
def cuda():
    return FakeCuda()


def test_a_gpu_says_what_it_is(cuda):
    driver = CudaDriver(load=cuda.load)
    assert (driver.name, driver.capability) == ("NVIDIA L4", "89")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        np.array([True, False]),
        np.zeros((2, 0), np.float16),
        np.array(7, np.int64),
    ],
    ids=["float32", "bool", "empty", "scalar"],
)
def test_what_goes_up_comes_down(cuda, array):
    driver = CudaDriver(load=cuda.load)
    stream, address, back = driver.create_stream(), driver.allocate(max(1, array.nbytes)), np.zeros_like(array)
    driver.upload(address, array, stream)
    driver.download(back, address, stream)
    driver.synchronize(stream)
    np.testing.assert_array_equal(back, array)


def test_what_is_given_back_is_gone(cuda):
    driver = CudaDriver(load=cuda.load)
    address, stream = driver.allocate(8), driver.create_stream()
    assert set(cuda.memory) == {address}
    assert cuda.streams == {stream}
    driver.free(address)
    driver.destroy_stream(stream)
    driver.close()
    assert (cuda.memory, cuda.streams, cuda.retained) == ({}, set(), 0)


def test_every_thread_works_in_the_primary_context(cuda):
    driver = CudaDriver(load=cuda.load)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        addresses = list(pool.map(driver.allocate, range(1, 9)))
        list(pool.map(driver.free, addresses))
    assert not cuda.memory


def test_every_call_that_the_fake_knows_is_made(cuda):
    driver = CudaDriver(load=cuda.load)
    stream, address, array = driver.create_stream(), driver.allocate(8), np.zeros(1)
    assert driver.name + driver.capability
    driver.upload(address, array, stream)
    driver.download(array, address, stream)
    driver.synchronize(stream)
    driver.free(address)
    driver.destroy_stream(stream)
    driver.close()
    assert set(cuda.calls) == set(PROTOTYPES) - {"cuGetErrorString"}


def test_a_missing_driver_says_so():
    def load(name):
        raise OSError(f"{name}: cannot open shared object file")

    with pytest.raises(
        EnvironmentMissing, match=r"NVIDIA's driver is missing \(libcuda.so.1: .*install it where there is a GPU"
    ):
        CudaDriver(load=load)


@pytest.mark.skipif(bool(this_machine().gpus), reason="there is a GPU")
def test_this_machine_has_no_driver():
    with pytest.raises(EnvironmentMissing) as caught:
        CudaDriver()
    assert caught.value.exit_code == 8


@pytest.mark.parametrize(
    ("cuda", "does", "words"),
    [
        (
            FakeCuda(devices=0),
            lambda _: None,
            r"cuInit: no CUDA-capable device is detected \(100\)",
        ),
        (FakeCuda(room=4), lambda driver: driver.allocate(8), r"cuMemAlloc_v2: out of memory \(2\)\. .*smaller batch"),
        (FakeCuda(), lambda driver: driver.free(8), r"cuMemFree_v2: invalid argument \(1\)\. See `nvidia-smi`"),
        (FakeCuda(), lambda driver: driver.synchronize(8), r"cuStreamSynchronize: invalid resource handle \(400\)"),
    ],
)
def test_what_fails_is_said_in_cudas_words(cuda, does, words):
    with pytest.raises(EnvironmentMissing, match=words):
        does(CudaDriver(load=cuda.load))


def used_after_it_was_freed(gpu, stream, address):
    gpu.free(address)
    gpu.upload(address, np.zeros(1), stream)
    gpu.synchronize(stream)


def freed_twice(gpu, stream, address):
    gpu.free(address)
    gpu.free(address)


def freed_while_in_use(gpu, stream, address):
    gpu.upload(address, np.zeros(1), stream)
    gpu.free(address)


def written_beyond_its_end(gpu, stream, address):
    gpu.upload(address, np.zeros(2), stream)
    gpu.synchronize(stream)


def destroyed_with_work(gpu, stream, address):
    gpu.upload(address, np.zeros(1), stream)
    gpu.destroy_stream(stream)


def left_behind(gpu, stream, address):
    gpu.close()


@pytest.mark.parametrize(
    "breaks",
    [
        used_after_it_was_freed,
        freed_twice,
        freed_while_in_use,
        written_beyond_its_end,
        destroyed_with_work,
        left_behind,
    ],
    ids=lambda one: one.__name__,
)
def test_the_fake_gpu_forgives_nothing(breaks):
    gpu = FakeGpu()
    with pytest.raises(AssertionError):
        breaks(gpu, gpu.create_stream(), gpu.allocate(8))


def test_the_fake_gpu_shows_what_is_read_too_early():
    gpu = FakeGpu()
    stream, address, array = gpu.create_stream(), gpu.allocate(8), np.ones(1)
    gpu.upload(address, np.full(1, 5.0), stream)
    gpu.download(array, address, stream)
    assert array[0] not in {1.0, 5.0}
    gpu.synchronize(stream)
    assert array[0] == 5.0
