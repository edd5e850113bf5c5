"""`vitrify bench`: a model's profiles and baselines over a grid, interleaved, each in a process of its own.

Closed loop: one call after the other, which gives latency and the most that can be served. Open loop: arrivals at
random times, which gives the latency that users of a busy server see.
"""

import importlib.util
import json
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..runtime.amounts import counted
from ..runtime.bundle.files import given_name
from ..runtime.bundle.reading import read_bundle
from ..runtime.errors import UsageError
from ..runtime.loading import MAX_DRIFT, LoadedBundle
from ..runtime.machine import this_machine, usable_cores
from ..runtime.selection.find import check_max_drift, find_choice
from ..runtime.selection.profiles import Choice
from ..runtime.sessions.base import cpu_threads
from ..runtime.sources.request import Request
from ..runtime.steps import Progress
from .backends import COUNTER, OWN, Installed, find_baseline, own_backend
from .environment import condition, fingerprint, occasion
from .interleaved import PAUSE, Observations, Processes, Runner, run_interleaved
from .model_under_test import ModelUnderTest, find_model
from .percentiles import percentile
from .process import Answer, BackendError, Child
from .result import BackendInfo, GridCase, Load, Result, Row
from .roofline import least_milliseconds, measured_peaks
from .schedule import Plan, Schedule
from .shareable import shareable
from .workload import workload

SECONDS = 10.0
_REPETITION_SECONDS, _MOST_CALLS = 0.25, 50
_SETTLE_SECONDS, _STEADY = 2.0, 0.05
_SHARES = (0.3, 0.6, 0.8, 0.95)  # of what a closed loop serves


@dataclass(frozen=True)
class Measurement:
    """What is asked for.

    Attributes
    ----------
    model, checkpoint
        A bundle, a checkpoint or a Hub id; where baselines find the checkpoint if that is a bundle.
    profiles, against
        Own profiles (default: all of a bundle), "auto" among them, and names of baselines.
    max_drift
        For "auto": the largest difference from PyTorch accepted, over the outputs' largest magnitude.
    sizes
        Sizes by axis, in place of the usual ones.
    threads
        Numbers of threads (default: the cores that are granted).
    rounds
        Repetitions of each backend on each case; each takes a quarter of a second or one call.
    rates
        Requests per second for the open loop; 0: shares of the throughput of each backend's closed loop.
    seconds
        How long arrivals come at each rate.
    limit
        Seconds that one repetition may take.
    command
        What was typed, for the record.
    allow_missing
        Measure without baselines that are not available, which are rows with the reason then.

    """

    model: Request
    task: str | None = None
    checkpoint: str | None = None
    profiles: Sequence[str] = ()
    against: Sequence[str] = ()
    max_drift: float = MAX_DRIFT
    sizes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    threads: Sequence[int] = ()
    rounds: int = 15
    rates: Sequence[float] = ()
    seconds: float = SECONDS
    limit: float = 300.0
    command: str | None = None
    allow_missing: bool = False

    def __post_init__(self) -> None:
        for name, value in (("rounds", self.rounds), ("seconds", self.seconds)):
            if not 0 < value < float("inf"):
                raise UsageError(f"{name}: got {value}, expected more than 0")
        for count in self.threads:
            cpu_threads(count)
        check_max_drift(self.max_drift)
        for name in self.against:
            find_baseline(name)


@dataclass(frozen=True)
class CaseJob:
    """One case as `run_interleaved` expects it."""

    name: str
    arguments: Mapping[str, Any]
    limit: float = 300.0
    kind: str = "run"


def measure_model(
    measurement: Measurement,
    *,
    progress: Progress = lambda _: None,
    detail: Progress = lambda _: None,
    pause: float = PAUSE,
) -> Result:
    """Measure what is asked for; Ctrl-C keeps what was measured, and `interrupted` says where it came.

    `progress` gets the plan and each case, `detail` each round.

    Raises
    ------
    UsageError
        A profile, an axis, a size or a baseline that is unknown, or a baseline that is not available here. What fails
        while it is measured is a row with the reason instead.

    """
    model = find_model(
        measurement.model, task=measurement.task, profiles=measurement.profiles, checkpoint=measurement.checkpoint
    )
    work = workload(model.bundle, LoadedBundle(model.bundle).config, measurement.sizes)
    runners, backends = _backends(measurement, model)
    if not measurement.allow_missing:
        require_available([runner for runner in runners if not backends[runner.name].is_own])
    schedule = Schedule(_plan(measurement, [case.name for case in work.cases()], len(runners), pause), progress, detail)
    result = Result(
        model=_described(model),
        environment={**occasion(), **fingerprint(), "before": condition()},
        settings=_settings(measurement, pause),
        cases=(),
        backends=tuple(backends.values()),
        rows=(),
        peaks=measured_peaks(this_machine()),
    )
    with Processes() as processes, tempfile.TemporaryDirectory(prefix="vitrify-bench-") as scratch:
        for case in work.cases():
            schedule.begin_case(case.name)
            result = _measured_case(
                result, measurement, case, work.arguments(case, Path(scratch)), runners, processes, schedule
            )
            if result.interrupted:
                break
        loaded = {name: 1000 * seconds for name, seconds in processes.load_seconds.items()}
        found = tuple(replace(each, load_ms=loaded.get(each.name)) for each in result.backends)
        environment = {**result.environment, "after": condition()}
        return shareable(replace(result, backends=found, versions=processes.versions, environment=environment))


def _plan(measurement: Measurement, cases: Sequence[str], backends: int, pause: float) -> Plan:
    rates = sum(len(_SHARES) if rate == 0 else 1 for rate in measurement.rates)
    repetition, seconds = _REPETITION_SECONDS, measurement.seconds
    return Plan(tuple(cases), backends, measurement.rounds, repetition, pause, rates=rates, seconds=seconds)


def _backends(measurement: Measurement, tested: ModelUnderTest) -> tuple[list[Runner], dict[str, BackendInfo]]:
    counts = list(measurement.threads) or [usable_cores()]
    bundles = {name: read_bundle(folder, name) for name, folder in tested.folders.items()}
    own = {name: find_choice(bundle, name, max_drift=measurement.max_drift) for name, bundle in bundles.items()}
    programs = {
        **{name: _own(choice) for name, choice in own.items()},
        **{name: find_baseline(name) for name in measurement.against},
    }
    runners, backends = [], {}
    for count in counts:
        for name, program in programs.items():
            shown = name if len(counts) == 1 else f"{name}, {counted(count, 'thread')}"
            threads, drift, model = count, None, _model_of(program, tested)
            if name in own:
                model = partial(str, tested.folders[name])
                drift = bundles[name].recorded_drift().get(own[name].profile.name)
                threads = count if measurement.threads else own[name].threads or count
            runners.append(Runner(shown, program, program.variant, model, threads=threads))
            backends[shown] = BackendInfo(shown, name in own, program.precision, threads, drift)
    return runners, backends


def require_available(baselines: Sequence[Runner]) -> None:
    """Raise UsageError for the first baseline whose packages or model are not there."""
    for runner in baselines:
        if (why := _missing(runner)) is not None:
            raise UsageError(f"--against {runner.name}: {why}; --allow-missing measures without what is not available")


def _missing(runner: Runner) -> str | None:
    for name in runner.program.shown:
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed"
    try:
        runner.model()
    except BackendError as error:
        return str(error)
    return None


def _own(choice: Choice) -> Installed:
    profile = choice.profile
    return own_backend(profile.name, choice.entries.items(), prepacked=choice.prepacked, precision=profile.precision)


def _model_of(program: Installed, tested: ModelUnderTest) -> Callable[[], str]:
    """Return what a baseline loads, told when its process starts."""

    def model() -> str:
        if program.name == "ort":
            if tested.bundle.topology.generates:
                raise BackendError("runs a single graph, and generative models need a loop around several")
            exact = [build for build in tested.bundle.builds.values() if build.profile.precision == "fp32"]
            if not exact:
                raise BackendError("the bundle contains no float32 graph")
            return str(tested.bundle.path(tested.bundle.graph_files(exact[0].profile.name, "model")[0]))
        described = {"checkpoint": str(tested.pytorch_folder()), "architecture": tested.bundle.architecture}
        return json.dumps(described)

    return model


def _described(model: ModelUnderTest) -> dict[str, Any]:
    bundle = model.bundle
    return {
        "name": given_name(bundle.folder),
        "source": bundle.source.id,
        "revision": bundle.source.revision,
        "architecture": bundle.architecture,
        "family": bundle.family,
        "tasks": list(bundle.tasks),
        "digest": bundle.digest,
    }


def _settings(measurement: Measurement, pause: float) -> dict[str, Any]:
    lists = {name: list(getattr(measurement, name)) for name in ("profiles", "against", "threads")}
    rates = [rate or "auto" for rate in measurement.rates]
    sizes = {axis: list(values) for axis, values in measurement.sizes.items()}
    single = {
        "command": measurement.command,
        "task": measurement.task,
        "rounds": measurement.rounds,
        "seconds": measurement.seconds,
        "pause": pause,
    }
    return {**lists, "rates": rates, "sizes": sizes, **single}


def _measured_case(
    result: Result,
    measurement: Measurement,
    case: GridCase,
    given: Mapping[str, Any],
    runners: Sequence[Runner],
    processes: Processes,
    schedule: Schedule,
) -> Result:
    """Return the result with one more case in it, as far as it came."""
    observed, loads, runs, interrupted = Observations(), [], [], None
    try:
        runs = _runs_of(given, runners, measurement.limit)
        if runs:
            case = replace(case, flops=sum(run[0] for run in runs), bytes=sum(run[1] for run in runs))
        job = CaseJob(case.name, given, measurement.limit)
        rounds, pause = measurement.rounds, schedule.plan.pause
        told = schedule.begin_round
        run_interleaved(job, runners, processes, observed, rounds=rounds, pause=pause, settle=settle, told=told)
        for number, runner in enumerate(runners, 1):
            if runner.name in observed.samples and measurement.rates:
                schedule.begin_arrivals(number)
                loads += _loads(measurement, case, runner, given, processes, observed.samples[runner.name])
    except KeyboardInterrupt:
        interrupted = case.name
    precisions = {backend.name: backend.precision for backend in result.backends}
    least = {name: least_milliseconds(runs, result.peaks, precision) for name, precision in precisions.items()}
    rows = [
        _row(case, runner.name, observed, least[runner.name]) for runner in runners if _is_known(runner.name, observed)
    ]
    return replace(
        result,
        cases=(*result.cases, case),
        rows=(*result.rows, *rows),
        loads=(*result.loads, *loads),
        interrupted=interrupted,
    )


def _is_known(name: str, observed: Observations) -> bool:
    return bool(observed.samples.get(name)) or name in observed.failed


def settle(ask: Callable[[int], Answer]) -> int:
    """Warm up until two repetitions agree within 5 % or two seconds are over; return how many calls each takes."""
    spent, before = 0.0, None
    while True:
        calls = 1 if before is None else calls_for(before)
        samples = ask(calls).samples
        now, spent = statistics.median(samples), spent + sum(samples)
        if before is not None and (abs(now - before) <= _STEADY * before or spent >= _SETTLE_SECONDS):
            return calls_for(now)
        before = now


def calls_for(seconds: float) -> int:
    """Return how many calls of this length make a repetition."""
    return max(1, min(_MOST_CALLS, int(_REPETITION_SECONDS / max(seconds, 1e-6))))


def _runs_of(given: Mapping[str, Any], runners: Sequence[Runner], limit: float) -> list[Sequence[float]]:
    """Return what each run of a graph computes and reads: floating-point operations, bytes of weights in float32.

    It is told by the first own runner that ONNX Runtime can profile, in a process of its own; empty where none can.
    """
    for runner in runners:
        if runner.program.name == OWN:
            try:
                with Child(COUNTER, model=runner.model(), variant=runner.variant, threads=runner.threads) as child:
                    return child.ask("count", given, limit=limit).made
            except BackendError:
                continue
    return []


def _row(case: GridCase, name: str, observed: Observations, least: float | None) -> Row:
    if name in observed.failed:
        return Row(case.name, name, failed=observed.failed[name])
    samples = observed.samples[name]
    middle = percentile(samples, 0.5)
    return Row(
        case.name,
        name,
        samples_ms=tuple(1000 * value for value in samples),
        first_ms=1000 * observed.first[name],
        peak_mb=observed.peak_mb.get(name),
        throughput=case.count / statistics.fmean(samples),
        roofline=least / (1000 * middle) if least else None,
    )


def _loads(
    measurement: Measurement,
    case: GridCase,
    runner: Runner,
    given: Mapping[str, Any],
    processes: Processes,
    samples: Sequence[float],
) -> list[Load]:
    """Return what a runner does under arrivals at each rate."""
    capacity = 1 / statistics.fmean(samples)
    rates = [rate for rate in measurement.rates if rate] + [
        share * capacity for share in _SHARES if 0 in measurement.rates
    ]
    found = []
    for rate in rates:
        arrivals = drawn_arrivals(rate, measurement.seconds)
        try:
            # What is not served in time stays in the queue, so a rate beyond the capacity takes longer than it lasts.
            asked = {**given, "arrivals": arrivals}
            answer = processes.child(runner).ask("serve", asked, limit=measurement.limit + 4 * measurement.seconds)
        except BackendError as error:
            found.append(Load(case.name, runner.name, rate, failed=str(error)))
            continue
        latencies = [1000 * value for value in answer.made]
        served = len(latencies) * case.count / answer.seconds
        found.append(Load(case.name, runner.name, rate, tuple(latencies), served))
    return found


def drawn_arrivals(rate: float, seconds: float) -> list[float]:
    """Return ascending times of a Poisson process of this rate, at least one, seeded."""
    count = max(1, round(rate * seconds))
    gaps = np.random.default_rng(count).exponential(1 / rate, count)
    return np.cumsum(gaps).tolist()
