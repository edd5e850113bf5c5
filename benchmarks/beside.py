"""Works done by vitrify and its peers in one run, with what each way made of them judged beside PyTorch's."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vitrify.bench.interleaved import PAUSE, Observations, Processes, Runner, run_interleaved
from vitrify.bench.percentiles import ratio, spread
from vitrify.bench.process import BackendError

REFERENCE = "PyTorch fp32"
# Our own way that is compared with our others too: after `vitrify tune` it should be the fastest of them.
AUTO = "auto"


@dataclass(frozen=True)
class Work:
    """What is done: a kind of work with its arguments, which a child gets as they are.

    Attributes
    ----------
    ways
        The names of those that do it.
    tokens
        How many tokens one run writes; 0 where only its seconds count.
    judged
        Given what a way made and what the reference made (None where that failed), returns what to keep of it;
        raises BackendError where it is not the work that was asked for.
    rounds
        How many rounds, in place of the measurement's.
    calls
        How many runs each turn makes: several where one is short beside what disturbs it.
    limit
        Seconds that one run may take.

    """

    name: str
    kind: str
    arguments: Mapping[str, Any]
    ways: Sequence[str]
    tokens: int = 0
    judged: Callable[[Any, Any], Mapping[str, Any]] = lambda _made, _reference: {}
    rounds: int | None = None
    calls: int = 1
    limit: float = 120.0


def measure_works(
    works: Sequence[Work], ways: Sequence[Runner], *, rounds: int, pause: float = PAUSE
) -> dict[str, Any]:
    """Return for each work the seconds of every way, ratios of the same rounds, and why a way has none.

    Ctrl-C ends the run and keeps what was measured: then `interrupted` says at which work.
    """
    by_name = {way.name: way for way in ways}
    result: dict[str, Any] = {"work": {}, "versions": {}}
    with Processes() as crew:
        for work in works:
            findings = Observations()
            try:
                chosen = [by_name[name] for name in work.ways]
                run_interleaved(
                    work,
                    chosen,
                    crew,
                    findings,
                    rounds=work.rounds or rounds,
                    pause=pause,
                    settle=lambda _ask, calls=work.calls: calls,
                )
            except KeyboardInterrupt:
                result["interrupted"] = work.name
            if any(findings.samples.values()) or (findings.failed and "interrupted" not in result):
                result["work"][work.name] = _summary(work, by_name, findings)
            if "interrupted" in result:
                break
        result["versions"] = crew.versions
    return result


def _summary(work: Work, ways: Mapping[str, Runner], findings: Observations) -> dict[str, Any]:
    """Return what is kept of a work."""
    made, failed, notes = findings.made, dict(findings.failed), {}
    for name in findings.samples:
        if ways[name].kind is None:
            try:
                notes[name] = dict(work.judged(made[name], made.get(REFERENCE)))
            except BackendError as error:
                failed[name] = str(error)
    samples = {name: values for name, values in findings.samples.items() if name not in failed}
    ours = [name for name in samples if ways[name].program.name == "vitrify" and ways[name].kind is None]
    speeds = {name: spread([work.tokens / value for value in values]) for name, values in samples.items()}
    return {
        "seconds": {name: spread(values) for name, values in samples.items()},
        **({"tokens_per_second": speeds} if work.tokens else {}),
        "ratios": ratios_of(samples, ours),
        "made": notes,
        "failed": failed,
    }


def ratios_of(samples: Mapping[str, Sequence[float]], ours: Collection[str]) -> dict[str, Any]:
    """Return the ratio of every peer to each of our ways, and of our other ways to `auto`."""
    return {
        f"{other} / {mine}": ratio(values, samples[mine])
        for mine in samples
        if mine in ours
        for other, values in samples.items()
        if other not in ours or (mine == AUTO and other != AUTO)
    }
