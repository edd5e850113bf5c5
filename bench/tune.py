"""`vitrify tune`: measures every configuration that passes the accuracy check; the fastest is kept for `auto`.

First every profile as it is, then variants of the fastest: session settings of ONNX Runtime, and fewer threads.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..profiles import Profile
from ..runtime.amounts import counted
from ..runtime.bundle.files import given_name
from ..runtime.bundle.manifest import Bundle
from ..runtime.bundle.reading import read_bundle
from ..runtime.errors import EnvironmentMissing, UsageError
from ..runtime.loading import LoadedBundle
from ..runtime.machine import Machine, this_machine
from ..runtime.selection.find import check_max_drift
from ..runtime.selection.tuned import Tuned, write_tuned
from .backends import own_backend
from .interleaved import PAUSE, Observations, Processes, Runner, run_interleaved
from .measure import CaseJob, settle
from .percentiles import paired, ratio
from .process import BackendError
from .table import Part, figures_table
from .workload import Workload, workload

# What a variant must gain over all cases to be worth another setting, and may lose in none.
_GAIN = 0.03
_VERIFY_SECONDS = 600.0
# What is tried of ONNX Runtime's settings, in words; the features of which the CPU must have one, or none.
# Not tried, as measured on BERT-base with VNNI: int8 with static quantization in ONNX Runtime (QuantizeLinear
# pairs, activations unsigned), 1.02 times the time of scales taken at run time; batches cut into fewer rows, 1.0 to
# 1.6 times the time.
_SETTINGS: Sequence[tuple[str, Mapping[str, str], frozenset[str]]] = (
    ("with fused norms", {"optimization.disable_specified_optimizers": ""}, frozenset()),
    ("allow_spinning=0", {"session.intra_op.allow_spinning": "0"}, frozenset()),
    ("bfloat16 products of ARM", {"mlas.enable_gemm_fastmath_arm64_bfloat16": "1"}, frozenset({"bf16"})),
)


@dataclass(frozen=True)
class Candidate:
    """A configuration: a profile, threads and settings, with a name that says what differs from the defaults."""

    name: str
    profile: str
    threads: int
    entries: tuple[tuple[str, str], ...] = ()
    prepacked: bool = False

    def way(self, folder: Path) -> Runner:
        """Return how it is run."""
        program = own_backend(self.profile, self.entries, prepacked=self.prepacked)
        return Runner(self.name, program, program.variant, lambda: str(folder), threads=self.threads)


@dataclass(frozen=True)
class Tuning:
    """The configurations that passed, the chosen one first; what was left out and why, and where the record lies.

    `not_chosen` says of those whose medians are lower than the chosen one's why that does not count.
    """

    bundle: str
    ways: Sequence[tuple[Candidate, Tuned]]
    left_out: Mapping[str, str]
    record: Path
    not_chosen: Mapping[str, str] = field(default_factory=dict)


def tune_bundle(
    folder: Path,
    *,
    sizes: Mapping[str, Sequence[int]],
    max_drift: float,
    rounds: int,
    prepack: bool = False,
    progress: Callable[[str], None] = lambda _: None,
    pause: float = PAUSE,
) -> Tuning:
    """Measure the configurations of a bundle and keep the order in the user's cache.

    Parameters
    ----------
    folder
        A bundle.
    sizes
        Sizes by axis that matter to the caller, in place of the usual ones; each case counts the same.
    max_drift
        The largest difference from PyTorch accepted, over the outputs' largest magnitude.
    rounds
        Repetitions of each candidate on each case.
    prepack
        Keep the winner's graphs in the cache too, packed for this CPU, which loads faster and takes about the weights'
        size twice.

    Raises
    ------
    UsageError
        A third-party ONNX folder, which contains no outputs to verify against.
    EnvironmentMissing
        No configuration passed here, or the cache cannot be written.

    """
    if rounds < 1:
        raise UsageError(f"--rounds: got {rounds}, expected at least 1")
    check_max_drift(max_drift)
    bundle, machine = read_bundle(folder), this_machine()
    if not bundle.is_verified:
        raise UsageError(
            f"'{folder}' is an ONNX folder: it contains no PyTorch outputs to check a configuration against"
        )
    work = workload(bundle, LoadedBundle(bundle, max_drift=max_drift).config, sizes)
    with Processes() as processes, tempfile.TemporaryDirectory(prefix="vitrify-tune-") as scratch:
        trial = _Trial(bundle, work, processes, Path(scratch), max_drift, rounds, pause, progress)
        plain = trial.measured(list(_profiles(bundle, machine)))
        best = _fastest(plain)
        variants = trial.measured([best, *_variants(best, bundle.profile(best.profile), machine)])
        order = ordered(plain, variants, best)
        if prepack:
            order = trial.with_prepacked(order)
    ways = [(candidate, _tuned(candidate, trial, medians(found))) for candidate, found in order]
    record = write_tuned([way for _, way in ways], bundle, machine)
    return Tuning(given_name(folder), ways, trial.left_out, record, not_chosen(order))


def describe_tuning(tuning: Tuning) -> tuple[dict[str, Any], list[Part]]:
    """Return the document and a table, the fastest first."""
    best = tuning.ways[0][1]
    chosen = tuning.ways[0][0].name
    rows = [
        {"name": candidate.name, **vars(way), "times_the_fastest": _score(way.milliseconds) / _score(best.milliseconds)}
        for candidate, way in tuning.ways
    ]
    document = {
        "bundle": tuning.bundle,
        "ways": rows,
        "left_out": tuning.left_out,
        "not_chosen": tuning.not_chosen,
        "record": str(tuning.record),
    }
    cells = [["configuration", "relative time", "rel. error", *(f"{case}, ms" for case in best.milliseconds)]]
    for row in sorted(rows, key=lambda row: row["times_the_fastest"]):
        spent = (f"{found:.3g}" for found in row["milliseconds"].values())
        cells.append([row["name"], f"{row['times_the_fastest']:.2f}x", f"{row['drift']:.1g}", *spent])
    parts = [f"{tuning.bundle}: configurations that pass the accuracy check", figures_table(cells, names=1)]
    parts += [f"  {name}: left out: {reason}" for name, reason in tuning.left_out.items()]
    parts += [f"  {name}: not chosen: {reason}" for name, reason in tuning.not_chosen.items()]
    return document, [*parts, f"profile auto uses '{chosen}' on this machine from now on ({tuning.record})"]


# Seconds of every call, by case.
Samples = Mapping[str, Sequence[float]]


@dataclass
class _Trial:
    """What measures candidates that pass the gate, and knows why others are left out."""

    bundle: Bundle
    work: Workload
    processes: Processes
    scratch: Path
    max_drift: float
    rounds: int
    pause: float
    progress: Callable[[str], None]

    def __post_init__(self) -> None:
        self.left_out: dict[str, str] = {}
        self.drift: dict[str, float] = {}

    def measured(self, candidates: Sequence[Candidate]) -> dict[Candidate, Samples]:
        """Return the samples of the candidates that passed and ran every case."""
        passed = [candidate for candidate in candidates if self._passes(candidate)]
        found: dict[Candidate, dict[str, Sequence[float]]] = {candidate: {} for candidate in passed}
        for case in self.work.cases():
            self.progress(case.name)
            observed = Observations()
            ways = [candidate.way(self.bundle.folder) for candidate in found]
            run_interleaved(
                CaseJob(case.name, self.work.arguments(case, self.scratch)),
                ways,
                self.processes,
                observed,
                rounds=self.rounds,
                pause=self.pause,
                settle=settle,
            )
            self.left_out |= observed.failed
            found = {candidate: each for candidate, each in found.items() if candidate.name in observed.samples}
            for candidate, samples in found.items():
                samples[case.name] = observed.samples[candidate.name]
        return dict(found)

    def with_prepacked(self, order: Sequence[tuple[Candidate, Samples]]) -> list[tuple[Candidate, Samples]]:
        """Return the order with its winner's graphs packed before it, written and verified, if ONNX Runtime runs it.

        Raises EnvironmentMissing where they cannot be written or are not verified.
        """
        winner, samples = order[0]
        candidate = replace(winner, name=f"{winner.name}, prepacked", prepacked=True)
        if (provider := self.bundle.profile(winner.profile).provider) != "cpu":
            self.left_out[candidate.name] = f"only ONNX Runtime's weights can be prepacked, not those of '{provider}'"
            return list(order)
        self.progress("packing weights")
        try:
            self.processes.child(winner.way(self.bundle.folder)).ask("prepack", {}, limit=_VERIFY_SECONDS)
        except BackendError as error:
            raise EnvironmentMissing(f"--prepack: {error}") from error
        if not self._passes(candidate):
            raise EnvironmentMissing(f"--prepack: {self.left_out[candidate.name]}: leave it out")
        return [(candidate, samples), *order]

    def _passes(self, candidate: Candidate) -> bool:
        """Replay the parity cases, once for each candidate."""
        if candidate.name in self.drift:
            return True
        self.progress(f"accuracy check of {candidate.name}")
        try:
            found = (
                self.processes.child(candidate.way(self.bundle.folder)).ask("verify", {}, limit=_VERIFY_SECONDS).made
            )
        except BackendError as error:
            self.left_out[candidate.name] = str(error)
            return False
        if not found["passed"]:
            self.left_out[candidate.name] = "it fails the accuracy check on this machine"
        elif not found["drift"] <= self.max_drift:
            self.left_out[candidate.name] = f"its max relative error {found['drift']:.2g} exceeds {self.max_drift:.2g}"
        else:
            self.drift[candidate.name] = found["drift"]
        return candidate.name in self.drift


def _profiles(bundle: Bundle, machine: Machine) -> Iterator[Candidate]:
    return (Candidate(name, name, machine.cores) for name in bundle.builds)


def _variants(best: Candidate, profile: Profile, machine: Machine) -> Iterator[Candidate]:
    if profile.provider == "cpu":
        for words, entries, features in _SETTINGS:
            if not features or features & machine.cpu_features:
                known = entries.items() <= profile.options.items()
                if not known:
                    yield replace(best, name=f"{best.profile}, {words}", entries=tuple(entries.items()))
    threads = best.threads // 2
    while threads:
        yield replace(best, name=f"{best.profile}, {counted(threads, 'thread')}", threads=threads)
        threads //= 2


def _fastest(found: Mapping[Candidate, Samples]) -> Candidate:
    if not found:
        raise EnvironmentMissing(
            "tune: no profile of the bundle is available here within the accepted error: raise --max-drift"
        )
    return min(found, key=lambda candidate: _score(medians(found[candidate])))


def ordered(
    plain: Mapping[Candidate, Samples], variants: Mapping[Candidate, Samples], best: Candidate
) -> list[tuple[Candidate, Samples]]:
    """Return all, the fastest first; a variant comes before the profile as it is only if that is worth it."""
    again = variants.get(best, plain[best])
    worth = [candidate for candidate in variants if candidate != best and _is_worth(variants[candidate], again)]
    rest = {candidate: found for candidate, found in {**plain, **variants}.items() if candidate not in {*worth, best}}
    return [
        *_by_score({candidate: variants[candidate] for candidate in worth}),
        (best, again),
        *_by_score(rest),
    ]


def not_chosen(order: Sequence[tuple[Candidate, Samples]]) -> dict[str, str]:
    """Return, for each configuration that is faster by its medians than the first, why it is not the first."""
    _, best = order[0]
    return {
        candidate.name: _too_little(found, best)
        for candidate, found in order[1:]
        if _score(medians(found)) < _score(medians(best))
    }


def _too_little(found: Samples, best: Samples) -> str:
    pairs = [pair for case in best for pair in zip(*paired(found[case], best[case]), strict=True)]
    won = sum(own < other for own, other in pairs)
    return (
        f"faster in {won} of {len(pairs)} samples; needed: 3 of 4, {_GAIN:.0%} over all cases, and none slower by "
        f"{_GAIN:.0%}"
    )


def _by_score(found: Mapping[Candidate, Samples]) -> list[tuple[Candidate, Samples]]:
    return sorted(found.items(), key=lambda item: _score(medians(item[1])))


def _is_worth(found: Samples, best: Samples) -> bool:
    """Say whether a variant gains over all cases, in three rounds of four, and loses in none: noise does not."""
    ratios = [ratio(*paired(found[case], best[case])) for case in best]
    return (
        statistics.geometric_mean(each["median"] for each in ratios) <= 1 - _GAIN
        and statistics.geometric_mean(each["q3"] for each in ratios) <= 1
        and max(each["median"] for each in ratios) <= 1 + _GAIN
    )


def medians(found: Samples) -> dict[str, float]:
    """Return the median of each case in milliseconds."""
    return {case: 1000 * statistics.median(samples) for case, samples in found.items()}


def _score(milliseconds: Mapping[str, float]) -> float:
    """Return one figure for all cases: the geometric mean, to which each gives by its ratio and not by its length."""
    return statistics.geometric_mean(milliseconds.values())


def _tuned(candidate: Candidate, trial: _Trial, milliseconds: Mapping[str, float]) -> Tuned:
    return Tuned(
        candidate.profile,
        candidate.threads,
        trial.drift[candidate.name],
        milliseconds,
        dict(candidate.entries),
        candidate.prepacked,
    )
