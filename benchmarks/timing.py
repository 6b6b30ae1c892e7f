"""Timing that can be trusted on a shared machine: candidates take turns, medians are quoted, ratios are of one run.

In: functions without arguments. Out: seconds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds of one call of a candidate in each round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def best(self) -> float:
        return min(self.rounds)


REST = 0.05  # seconds before each turn: until the threads of the one before have stopped waiting for work in loops


def take_turns(
    candidates: Mapping[str, Callable[[], object]], rounds: int = 15, share: float = 0.03
) -> dict[str, Timing]:
    """Time all candidates; in each round each runs for about `share` seconds."""
    counts = {name: _count(f, share) for name, f in candidates.items()}
    found: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, f in candidates.items():
            time.sleep(REST)
            f()
            found[name].append(_seconds(f, counts[name]))
    return {name: Timing(tuple(times)) for name, times in found.items()}


def _count(f: Callable[[], object], share: float) -> int:
    """How many calls take about `share` seconds, once the candidate is warm."""
    _seconds(f, 1)
    count = 1
    while (took := count * _seconds(f, count)) < share / 4:
        count *= 4
    return max(1, round(count * share / took))


def _seconds(f: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        f()
    return (time.perf_counter() - start) / count


def ratios(one: Timing, other: Timing) -> float:
    """The median of the ratios one / other, round by round: what a machine whose speed drifts cannot distort."""
    return statistics.median(a / b for a, b in zip(one.rounds, other.rounds, strict=True))
