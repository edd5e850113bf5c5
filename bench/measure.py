"""`vitrify bench`: a model's profiles and their peers over a grid, interleaved, each in a process of its own.

Closed loop: one call after the other, which gives latency and the most that can be served. Open loop: arrivals at
random times, which gives the latency that users of a busy server see.
"""

import json
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..runtime.bundle import read_bundle
from ..runtime.choice import Choice
from ..runtime.errors import UsageError
from ..runtime.hub import Request
from ..runtime.loading import MAX_DRIFT, LoadedBundle, find_choice
from ..runtime.machine import this_machine, usable_cores
from .backends import COUNTER, OWN, Installed, find_peer, own_contender
from .environment import condition, fingerprint
from .interleaved import PAUSE, Crew, Findings, Way, hold
from .model_under_test import Subject, find_subject
from .process import Answer, Child, PeerError
from .result import Case, Contender, Load, Result, Row
from .roofline import least_milliseconds, measured_peaks
from .workload import workload

Progress = Callable[[str], None]
_TURN_SECONDS, _MOST_CALLS = 0.25, 50
_SETTLE_SECONDS, _STEADY = 2.0, 0.05
_SHARES = (0.3, 0.6, 0.8, 0.95)  # of what a closed loop serves


@dataclass(frozen=True)
class Order:
    """What is asked for.

    Attributes
    ----------
    model, checkpoint
        A bundle, a checkpoint or a Hub id; where peers find the checkpoint if that is a bundle.
    profiles, against
        Own profiles (default: all of a bundle), "auto" among them, and names of peers.
    max_drift
        For "auto": the largest difference from PyTorch accepted, over the outputs' largest magnitude.
    sizes
        Sizes by axis, in place of the usual ones.
    threads
        Numbers of threads (default: the cores that are granted).
    rounds
        Turns of each contender on each case; a turn takes a quarter of a second or one call.
    rates
        Arrivals a second for the open loop; 0 stands for shares of what each contender's closed loop serves.
    seconds
        How long arrivals come at each rate.
    limit
        Seconds that one turn may take.
    command
        What was typed, for the record.

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
    seconds: float = 10.0
    limit: float = 300.0
    command: str | None = None

    def __post_init__(self) -> None:
        for name, value in (
            ("rounds", self.rounds),
            ("seconds", self.seconds),
            *(("threads", n) for n in self.threads),
        ):
            if value <= 0:
                raise UsageError(f"{name}: got {value}, expected more than 0")
        for name in self.against:
            find_peer(name)


@dataclass(frozen=True)
class Measured:
    """One case as `contest.hold` takes it."""

    name: str
    arguments: Mapping[str, Any]
    limit: float = 300.0
    kind: str = "run"


def measure_model(order: Order, *, progress: Progress = lambda _: None, pause: float = PAUSE) -> Result:
    """Measure what is asked for; Ctrl-C keeps what was measured, and `interrupted` says where it came.

    Raises
    ------
    UsageError
        A profile, an axis, a size or a peer that is none. What cannot run here is a row with the reason instead.

    """
    subject = find_subject(order.model, task=order.task, profiles=order.profiles, checkpoint=order.checkpoint)
    work = workload(subject.bundle, LoadedBundle(subject.bundle).config, order.sizes)
    ways, contenders = _contenders(order, subject)
    progress("the machine's limits")
    result = Result(
        model=_described(subject),
        environment={**fingerprint(), "before": condition()},
        settings=_settings(order, pause),
        cases=(),
        contenders=tuple(contenders.values()),
        rows=(),
        peaks=measured_peaks(this_machine()),
    )
    with Crew() as crew, tempfile.TemporaryDirectory(prefix="vitrify-bench-") as scratch:
        for case in work.cases():
            progress(case.name)
            result = _measured_case(result, order, case, work.arguments(case, Path(scratch)), ways, crew, pause)
            if result.interrupted:
                break
        loaded = {name: 1000 * seconds for name, seconds in crew.load_seconds.items()}
        found = tuple(replace(each, load_ms=loaded.get(each.name)) for each in result.contenders)
        environment = {**result.environment, "after": condition()}
        return replace(result, contenders=found, versions=crew.versions, environment=environment)


def _contenders(order: Order, subject: Subject) -> tuple[list[Way], dict[str, Contender]]:
    counts = list(order.threads) or [usable_cores()]
    bundles = {name: read_bundle(folder, name) for name, folder in subject.folders.items()}
    own = {name: find_choice(bundle, name, max_drift=order.max_drift) for name, bundle in bundles.items()}
    programs = {
        **{name: _own(choice) for name, choice in own.items()},
        **{name: find_peer(name) for name in order.against},
    }
    ways, contenders = [], {}
    for count in counts:
        for name, program in programs.items():
            shown = name if len(counts) == 1 else f"{name}, {count} thread{'s' * (count > 1)}"
            threads, drift, model = count, None, _model_of(program, subject)
            if name in own:
                model = partial(str, subject.folders[name])
                drift = bundles[name].recorded_drift().get(own[name].profile.name)
                threads = count if order.threads else own[name].threads or count
            ways.append(Way(shown, program, program.variant, model, threads=threads))
            contenders[shown] = Contender(shown, name in own, program.precision, threads, drift)
    return ways, contenders


def _own(choice: Choice) -> Installed:
    profile = choice.profile
    return own_contender(profile.name, choice.entries.items(), prepacked=choice.prepacked, precision=profile.precision)


def _model_of(program: Installed, subject: Subject) -> Callable[[], str]:
    """Return what a peer loads, told when its process starts."""

    def model() -> str:
        if program.name == "ort":
            if subject.bundle.family != "encoder":
                raise PeerError("runs one graph, and this model writes with a loop around several")
            exact = [build for build in subject.bundle.builds.values() if build.profile.precision == "fp32"]
            if not exact:
                raise PeerError("the bundle holds no graph in float32")
            return str(subject.bundle.path(exact[0].graphs["model"]))
        described = {"checkpoint": str(subject.checkpoint_folder()), "architecture": subject.bundle.architecture}
        return json.dumps(described)

    return model


def _described(subject: Subject) -> dict[str, Any]:
    bundle = subject.bundle
    return {
        "name": bundle.folder.resolve().name,
        "source": bundle.source.id,
        "architecture": bundle.architecture,
        "family": bundle.family,
        "tasks": list(bundle.tasks),
        "digest": bundle.digest,
    }


def _settings(order: Order, pause: float) -> dict[str, Any]:
    lists = {name: list(getattr(order, name)) for name in ("profiles", "against", "threads", "rates")}
    sizes = {axis: list(values) for axis, values in order.sizes.items()}
    single = {
        "command": order.command,
        "task": order.task,
        "rounds": order.rounds,
        "seconds": order.seconds,
        "pause": pause,
    }
    return {**lists, "sizes": sizes, **single}


def _measured_case(
    result: Result,
    order: Order,
    case: Case,
    given: Mapping[str, Any],
    ways: Sequence[Way],
    crew: Crew,
    pause: float,
) -> Result:
    """Return the result with one more case in it, as far as it came."""
    findings, loads, runs, interrupted = Findings(), [], [], None
    try:
        runs = _runs_of(given, ways, order.limit)
        if runs:
            case = replace(case, flops=sum(run[0] for run in runs), bytes=sum(run[1] for run in runs))
        task = Measured(case.name, given, order.limit)
        hold(task, ways, crew, findings, rounds=order.rounds, pause=pause, settle=settle)
        for way in ways:
            if way.name in findings.samples:
                loads += _loads(order, case, way, given, crew, findings.samples[way.name])
    except KeyboardInterrupt:
        interrupted = case.name
    precisions = {contender.name: contender.precision for contender in result.contenders}
    least = {name: least_milliseconds(runs, result.peaks, precision) for name, precision in precisions.items()}
    rows = [_row(case, way.name, findings, least[way.name]) for way in ways if _is_known(way.name, findings)]
    return replace(
        result,
        cases=(*result.cases, case),
        rows=(*result.rows, *rows),
        loads=(*result.loads, *loads),
        interrupted=interrupted,
    )


def _is_known(name: str, findings: Findings) -> bool:
    return bool(findings.samples.get(name)) or name in findings.failed


def settle(ask: Callable[[int], Answer]) -> int:
    """Warm a way up until two turns agree within 5 % or two seconds are over; return how many calls a turn takes."""
    spent, before = 0.0, None
    while True:
        calls = 1 if before is None else calls_for(before)
        samples = ask(calls).samples
        now, spent = statistics.median(samples), spent + sum(samples)
        if before is not None and (abs(now - before) <= _STEADY * before or spent >= _SETTLE_SECONDS):
            return calls_for(now)
        before = now


def calls_for(seconds: float) -> int:
    """Return how many calls of this length make a turn."""
    return max(1, min(_MOST_CALLS, int(_TURN_SECONDS / max(seconds, 1e-6))))


def _runs_of(given: Mapping[str, Any], ways: Sequence[Way], limit: float) -> list[Sequence[float]]:
    """Return what each run of a graph computes and reads: floating-point operations, bytes of weights in float32.

    It is told by the first own way that ONNX Runtime can profile, in a process of its own; empty where none can.
    """
    for way in ways:
        if way.peer.name == OWN:
            try:
                with Child(COUNTER, model=way.model(), variant=way.variant, threads=way.threads) as child:
                    return child.ask("count", given, limit=limit).made
            except PeerError:
                continue
    return []


def _row(case: Case, name: str, findings: Findings, least: float | None) -> Row:
    if name in findings.failed:
        return Row(case.name, name, failed=findings.failed[name])
    samples = findings.samples[name]
    middle = statistics.median(samples)
    return Row(
        case.name,
        name,
        samples_ms=tuple(1000 * value for value in samples),
        first_ms=1000 * findings.first[name],
        peak_mb=findings.peak_mb.get(name),
        throughput=case.count / statistics.fmean(samples),
        roofline=least / (1000 * middle) if least else None,
    )


def _loads(
    order: Order, case: Case, way: Way, given: Mapping[str, Any], crew: Crew, samples: Sequence[float]
) -> list[Load]:
    """Return what a way does under arrivals at each rate."""
    capacity = 1 / statistics.fmean(samples)
    rates = [rate for rate in order.rates if rate] + [share * capacity for share in _SHARES if 0 in order.rates]
    found = []
    for rate in rates:
        arrivals = drawn_arrivals(rate, order.seconds)
        try:
            # What is not served in time stays in the queue, so a rate beyond the capacity takes longer than it lasts.
            asked = {**given, "arrivals": arrivals}
            answer = crew.child(way).ask("serve", asked, limit=order.limit + 4 * order.seconds)
        except PeerError as error:
            found.append(Load(case.name, way.name, rate, failed=str(error)))
            continue
        latencies = [1000 * value for value in answer.made]
        served = len(latencies) * case.count / answer.seconds
        found.append(Load(case.name, way.name, rate, tuple(latencies), served))
    return found


def drawn_arrivals(rate: float, seconds: float) -> list[float]:
    """Return ascending times of a Poisson process of this rate, at least one, seeded."""
    count = max(1, round(rate * seconds))
    gaps = np.random.default_rng(count).exponential(1 / rate, count)
    return np.cumsum(gaps).tolist()
