"""Results of benchmarks that nobody ran, with plausible samples, for the tests of what is made of a result."""

import itertools
from random import Random

from vitrify.bench.result import BackendInfo, GridCase, Load, Result, Row

MACHINE = {
    "cpu": "Intel(R) Xeon(R) Processor",
    "features": ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"],
    "cores": 2,
    "memory_gb": 8,
    "python": "3.11.7",
    "system": "Linux",
    "packages": {"vitrify": "0.1.0", "onnxruntime": "1.32.0", "numpy": "2.4.6", "tokenizers": "0.23.3"},
    "before": {"mhz": [2000, 2000], "governor": "performance", "load": 0.21},
    "after": {"mhz": [2000, 2400], "governor": "performance", "load": 1.94},
}
MODEL = {
    "name": "minilm",
    "source": "sentence-transformers/all-MiniLM-L6-v2",
    "architecture": "BertModel",
    "tasks": ["feature-extraction"],
    "digest": "sha256:5f1d0c9ab27e44d2a1be7c0a8d3e",
}
PEAKS = {"gflops": 214.7, "gflops_bf16": 441.0, "gflops_int8": 862.3, "gigabytes_per_second": 18.34}
SETTINGS = {
    "command": "vitrify bench minilm --against torch --against ort",
    "task": None,
    "profiles": [],
    "against": ["torch", "torch-bf16", "ort"],
    "sizes": {"batch": [1, 8]},
    "threads": [],
    "rounds": 15,
    "rates": [],
    "seconds": 10.0,
    "pause": 0.3,
}
SPEEDS = {"cpu-fp32": 1.0, "cpu-bf16": 0.36, "cpu-int8": 0.31, "PyTorch fp32": 1.32, "PyTorch bf16": 0.55}
SPEEDS |= {"onnxruntime fp32": 1.03}
OWN = (
    BackendInfo("cpu-fp32", True, "fp32", 2, drift=2.1e-6, load_ms=212.0),
    BackendInfo("cpu-bf16", True, "bf16 weights and sums", 2, drift=0.012, load_ms=318.0),
    BackendInfo("cpu-int8", True, "int8", 2, drift=0.058, load_ms=171.0),
)
BASELINES = (
    BackendInfo("PyTorch fp32", False, "fp32", 2, load_ms=3320.0),
    BackendInfo("PyTorch bf16", False, "bf16", 2, load_ms=3290.0),
    BackendInfo("onnxruntime fp32", False, "fp32", 2, load_ms=188.0),
)
ABSENT = BackendInfo("faster-transformer int8", False, "int8", 2)
WHY = "ModuleNotFoundError: No module named 'faster_transformer' (./dev peer faster-transformer sets it up)"

# The least that has all: one case, one backend of ours and one peer, a load.
RESULT = Result(
    model={"name": "tiny"},
    environment={"cpu": "a CPU", "features": ["avx2"], "cores": 2},
    settings={"rounds": 2},
    cases=(GridCase("batch 1", {"batch": 1}, 1, "rows", flops=1e9, bytes=4e6),),
    backends=(
        BackendInfo("cpu-fp32", True, "fp32", 2, drift=1e-6, load_ms=50.0),
        BackendInfo("torch", False, "fp32", 2),
    ),
    rows=(
        Row("batch 1", "cpu-fp32", (10.0, 12.0, 11.0), first_ms=30.0, peak_mb=100.0, throughput=90.0, roofline=0.5),
        Row("batch 1", "torch", (30.0, 24.0)),
    ),
    loads=(Load("batch 1", "cpu-fp32", 50.0, (15.0, 20.0), 49.0),),
    peaks={"gflops": 100.0, "gigabytes_per_second": 10.0},
)


def samples(middle, count, seed, *, tail=0.02):
    """Return times around `middle`, with a few that took longer, as schedulers give them."""
    random = Random(seed)
    found = [middle * random.lognormvariate(0, 0.025) for _ in range(count)]
    return tuple(each * (1 + random.expovariate(3)) if random.random() < tail else each for each in found)


def grid(**axes):
    cases = []
    for sizes in itertools.product(*axes.values()):
        given = dict(zip(axes, sizes, strict=True))
        batch, sequence = given["batch"], given.get("sequence", 128)
        cases.append(
            GridCase(
                " x ".join(f"{axis} {size}" for axis, size in given.items()),
                given,
                batch,
                "rows",
                flops=2.2e7 * batch * sequence,
                bytes=9e7,
            )
        )
    return tuple(cases)


def row(case, backend, speed, seed, *, count=80):
    sizes = case.sizes
    middle = speed * (0.9 + 0.105 * sizes["batch"] * sizes.get("sequence", 128)) * (1 + 0.02 * (seed % 5))
    times = samples(middle, count, seed, tail=0.06)
    throughput = 1000 * case.count * len(times) / sum(times)
    limit = 1000 * max(case.flops / 214.7e9, case.bytes / 18.34e9)
    return Row(case.name, backend.name, times, middle * 3.1, 180.0 + seed, throughput, limit / middle)


def minilm():
    cases, backends = grid(batch=[1, 8], sequence=[16, 128]), (*OWN, *BASELINES)
    pairs = enumerate(itertools.product(cases, backends))
    rows = [row(case, each, SPEEDS[each.name], seed) for seed, (case, each) in pairs]
    rows += [Row(case.name, ABSENT.name, failed=WHY) for case in cases]
    versions = {"torch": "2.13.0", "transformers": "5.23.0"}
    return Result(MODEL, MACHINE, SETTINGS, cases, (*backends, ABSENT), tuple(rows), peaks=PEAKS, versions=versions)


def open_loop():
    cases, backends = grid(batch=[1], sequence=[128]), (OWN[0], OWN[2], BASELINES[0], BASELINES[2])
    rows = [row(cases[0], each, SPEEDS[each.name], seed) for seed, each in enumerate(backends)]
    loads = []
    for seed, (each, rate) in enumerate(itertools.product(backends, [10, 20, 40, 60, 80, 120, 160])):
        busy = rate * SPEEDS[each.name] * 14 / 1000
        if busy < 2.2:
            waits = 1 / (1 - busy) if busy < 0.95 else 20 * busy
            times = samples(14 * SPEEDS[each.name] * waits, 200, seed, tail=min(0.5, busy))
            loads.append(Load(cases[0].name, each.name, rate, times, min(rate, rate / busy)))
        else:
            loads.append(Load(cases[0].name, each.name, rate, failed="no answer within 120 seconds"))
    return Result(MODEL, MACHINE, SETTINGS, cases, backends, tuple(rows), tuple(loads), PEAKS)


def tiny():
    case = GridCase("one image", {}, 1, "rows")
    backend = BackendInfo("cpu-fp32", True, "fp32", 1)
    return Result({}, {}, {}, (case,), (backend,), (Row(case.name, backend.name, (3.2, 3.1, 3.4)),))


def all_failed():
    cases, backends = grid(batch=[1, 8]), (OWN[0], BASELINES[0])
    rows = [Row(case.name, each.name, failed="crashed with SIGILL") for case in cases for each in backends]
    return Result(MODEL, MACHINE, SETTINGS, cases, backends, tuple(rows))


def interrupted():
    cases, backends = grid(batch=[1, 2, 4, 8], sequence=[128]), (OWN[0], OWN[2], BASELINES[0])
    rows = [
        row(case, each, SPEEDS[each.name], seed, count=7)
        for seed, (case, each) in enumerate(itertools.product(cases[:2], backends))
    ]
    shown = MODEL, MACHINE, SETTINGS, cases[:3], backends, tuple(rows)
    return Result(*shown, interrupted=cases[2].name, peaks=PEAKS)


def many():
    cases = grid(batch=[1, 4, 16], sequence=[16, 64, 128, 512])
    own = [BackendInfo(f"cpu-w{index}", True, f"w{index}", 2, drift=0.1 / index, load_ms=80.0) for index in range(1, 5)]
    peers = [
        BackendInfo(f"a peer with a long name, the {index}th of eight of them, on its own", False, "fp32", 2)
        for index in range(1, 9)
    ]
    rows = [
        row(case, each, 0.4 + 0.21 * place, 12 * turn + place, count=250)
        for turn, case in enumerate(cases)
        for place, each in enumerate([*own, *peers])
    ]
    return Result(MODEL, MACHINE, SETTINGS, cases, (*own, *peers), tuple(rows), peaks=PEAKS)


def nasty():
    evil = '</script><script>alert("1")</script>\'"&<b>\u202e\x00\x1b[31m\ud800 ' + "very" * 30
    cases = (
        GridCase(f"{evil}A", {"<i>": 1}, 1, "<u>rows</u>"),
        GridCase(f"{evil}B", {"<i>": 64}, 4, "<u>rows</u>"),
    )
    backends = (
        BackendInfo(f"{evil}own", True, evil, 2, drift=float("nan")),
        BackendInfo(f"{evil}peer", False, evil, 2),
    )
    rows = [
        Row(case.name, each.name, (1.0, float("nan"), 2.0, float("inf"), 1.5), float("nan"), None, float("inf"))
        for case in cases
        for each in backends
    ]
    rows.append(Row(cases[0].name, backends[1].name, failed=f"<img src=x onerror=alert(1)>\n{evil}"))
    model = {"name": evil, "architecture": evil, "tasks": [evil], "digest": evil}
    machine = {"cpu": evil, evil: evil, "before": {"mhz": evil}, "packages": {evil: evil}}
    return Result(model, machine, {evil: {evil: [evil]}, "command": evil}, cases, backends, tuple(rows))


def words():
    """Cases that share no axis, as texts given by name."""
    cases = tuple(GridCase(name, {}, 1, "rows") for name in ("a short question", "a page of a contract", "a tweet"))
    rows = [
        Row(case.name, each.name, samples(SPEEDS[each.name] * (4 + 30 * turn), 40, 10 * turn + place))
        for turn, case in enumerate(cases)
        for place, each in enumerate((*OWN, *BASELINES))
    ]
    return Result(MODEL, MACHINE, SETTINGS, cases, (*OWN, *BASELINES), tuple(rows))


ALL = (minilm, open_loop, tiny, all_failed, interrupted, many, nasty, words)
