import re

import pytest

from vitrify.bench.environment import occasion


def machine(root, **files):
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "host"),
    [
        ({"proc__cpuinfo": "flags\t: fpu avx2\n"}, "no container or virtual machine found"),
        ({"proc__cpuinfo": "flags\t: fpu hypervisor avx2\n"}, "virtual machine"),
        ({"proc__cpuinfo": "flags\t: fpu\n", "_dot_dockerenv": ""}, "container"),
        ({"proc__cpuinfo": "flags : hypervisor\n", "run___dot_containerenv": ""}, "container in a virtual machine"),
        ({"proc__cpuinfo": "flags : fpu\n", "proc__1__cgroup": "0::/kubepods/pod1"}, "container"),
        ({}, None),
    ],
)
def test_where_it_was_measured(tmp_path, files, host):
    assert occasion(root=machine(tmp_path, **files)).get("host") == host


def test_when_it_was_measured(tmp_path):
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", occasion(root=tmp_path)["measured"])
