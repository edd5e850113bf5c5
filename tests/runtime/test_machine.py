import os

import pytest

from vitrify.runtime.machine import Machine, this_machine, usable_cores

XEON = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R)\nflags\t\t: fpu avx2 amx_bf16 amx_int8\n\nprocessor\t: 1\n"
GRAVITON = "processor\t: 0\nBogoMIPS\t: 2100.00\nFeatures\t: fp asimd asimddp i8mm bf16\n"
APPLE = "".join(
    f"{line}\n"
    for line in (
        "machdep.cpu.brand_string: Apple M2",
        "hw.optional.arm.FEAT_BF16: 1",
        "hw.optional.arm.FEAT_I8MM: 1",
        "hw.optional.arm.FEAT_SME: 0",
        "hw.memsize: 17179869184",
    )
)


def machine_with(tmp_path, files):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def silence(command):
    return ""


def test_this_machine_is_described():
    machine = this_machine()
    assert 1 <= machine.cores <= os.cpu_count()
    assert machine.memory_bytes > 1 << 28
    assert machine.cpu_features
    assert machine.model_name


def test_x86(tmp_path):
    root = machine_with(tmp_path, {"proc/cpuinfo": XEON, "proc/meminfo": "MemTotal:       24000 kB\nMemFree: 1 kB\n"})
    machine = this_machine(root=root, ask=silence)
    assert machine.cpu_features == {"fpu", "avx2", "amx_bf16", "amx_int8"}
    assert (machine.model_name, machine.memory_bytes, machine.gpus) == ("Intel(R) Xeon(R)", 24000 * 1024, ())


def test_arm_features_are_spelled_as_profiles_spell_them(tmp_path):
    machine = this_machine(root=machine_with(tmp_path, {"proc/cpuinfo": GRAVITON}), ask=silence)
    assert machine.cpu_features == {"fp", "asimd", "dotprod", "i8mm", "bf16"}
    assert machine.model_name == "unknown"


def test_apple_is_asked_through_sysctl(tmp_path):
    machine = this_machine(root=tmp_path, ask=lambda command: APPLE if command[0] == "sysctl" else "")
    assert machine.cpu_features == {"bf16", "i8mm"}
    assert (machine.model_name, machine.memory_bytes) == ("Apple M2", 17179869184)


def test_a_machine_that_says_nothing_is_still_described(tmp_path):
    machine = this_machine(root=tmp_path, ask=silence)
    assert (machine.cpu_features, machine.memory_bytes, machine.model_name) == (frozenset(), 0, "unknown")
    assert machine.cores >= 1


def test_gpus_with_a_driver_are_named(tmp_path):
    root = machine_with(
        tmp_path, {"proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t NVIDIA H200\nIRQ: 1\n"}
    )
    assert this_machine(root=root, ask=silence).gpus == ("NVIDIA H200",)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "6400000 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "nonsense\n"}, 8),
        # A parent's quota holds for its children.
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "300000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/../../etc\n", "sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4),
        (
            {
                "proc/self/cgroup": "4:memory:/x\n1:cpu,cpuacct:/box\n",
                "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
    ],
)
def test_cores_are_the_smaller_of_affinity_and_quota(tmp_path, files, cores):
    assert usable_cores(root=machine_with(tmp_path, files), affinity=8) == cores


@pytest.mark.parametrize(
    ("files", "memory"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1048576\n"}, 1 << 20),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 1 << 30),
        ({"proc/self/cgroup": "4:memory:/a\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "2097152\n"}, 1 << 21),
        (
            {"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{(1 << 63) - 4096}\n"},
            1 << 30,
        ),
    ],
)
def test_memory_is_what_the_cgroup_grants(tmp_path, files, memory):
    root = machine_with(tmp_path, {"proc/meminfo": "MemTotal: 1048576 kB\n", **files})
    assert this_machine(root=root, ask=silence).memory_bytes == memory


def test_a_cpu_has_a_set_of_features_only_in_full():
    machine = Machine(cpu_features=frozenset({"amx_tile", "amx_int8"}), cores=1, memory_bytes=1, model_name="x")
    assert machine.has_any([])
    assert machine.has_any([["amx_bf16"], ["amx_tile", "amx_int8"]])
    assert not machine.has_any([["amx_tile", "amx_bf16"]])
