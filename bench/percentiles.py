"""What samples come to: medians, quartiles, percentiles, ratios of the same rounds; it knows no model."""

import statistics
from collections.abc import Sequence


def spread(samples: Sequence[float]) -> dict[str, float]:
    """Return median, the quartiles and the minimum."""
    ordered = sorted(samples)
    low, _, high = statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else (ordered[0],) * 3
    return {"median": statistics.median(ordered), "q1": low, "q3": high, "min": ordered[0], "count": len(ordered)}


def ratio(slow: Sequence[float], fast: Sequence[float]) -> dict[str, float]:
    """Return the median and quartiles of the ratios of samples taken in the same round."""
    return spread([a / b for a, b in zip(slow, fast, strict=True)])


def paired(first: Sequence[float], second: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return as many samples of each, evenly taken: turns hold more calls of what is fast, in the same rounds."""
    count = min(len(first), len(second))
    return _spaced(first, count), _spaced(second, count)


def _spaced(samples: Sequence[float], count: int) -> list[float]:
    return [samples[index * len(samples) // count] for index in range(count)]


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least this share of them does not exceed (the nearest-rank percentile)."""
    ordered = sorted(samples)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def latencies(samples: Sequence[float]) -> dict[str, float]:
    """Return p50, p90, p95, p99, mean and the standard deviation, in the samples' unit."""
    return {
        **{f"p{round(100 * share)}": percentile(samples, share) for share in (0.5, 0.9, 0.95, 0.99)},
        "mean": statistics.fmean(samples),
        "deviation": statistics.pstdev(samples),
    }
