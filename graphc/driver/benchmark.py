"""How long calls take: compiled functions and their arguments in, medians out. Variables are left as they were.

Candidates take turns, so that a machine that slows down slows them all.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dataclass import dataclass
from ..devices import wait_for_all
from ..errors import UnsupportedError
from ..frontend import pytree
from ..frontend.arguments import Arguments
from ..frontend.spec import Spec
from ..frontend.tensor import concrete
from ..frontend.variable import Variable
from ..hook import call_lock
from .specialization import Compiled, Traceable

if TYPE_CHECKING:
    from .report import Report

ROUNDS = 15


@dataclass(frozen=True)
class Benchmark:
    """Seconds that one call took, in each round; `first` is the first call, which may have compiled."""

    rounds: tuple[float, ...]
    first: float

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def best(self) -> float:
        return min(self.rounds)

    def __str__(self) -> str:
        return f"{_time(self.median)} a call, {_time(self.best)} at best; the first took {_time(self.first)}"

    def __repr__(self) -> str:
        return str(self)


def measure(executable: Compiled, args: Sequence[Any], kwargs: dict[str, Any], seconds: float) -> Benchmark:
    """Call for about so many seconds; see `Executable.benchmark`."""
    values, named = example_values((tuple(args), kwargs))
    call = partial(executable, *values, **named)
    with kept(executable.specialize(*values, **named).variables):
        first = call_seconds(call, 1)
        (rounds,) = take_turns([call], seconds)
    return Benchmark(rounds, first)


def timed_report(executable: Traceable, args: Sequence[Any], kwargs: dict[str, Any], seconds: float = 1.0) -> Report:
    """See `Executable.report`."""
    from ..backends.backend import Timed
    from .report import with_times

    values, named = example_values((tuple(args), kwargs))
    found = executable.specialize(*values, **named)
    arrays = list(map(np.asarray, Arguments.of(executable.function, values, named).arrays))
    with kept(found.variables), call_lock:
        bound = found.compilation.built.bind([v.storage for v in found.variables])
        if not isinstance(bound, Timed):
            name = found.compilation.settings.backend
            raise UnsupportedError(f"the {name} backend can't time its kernels", hint='compile with backend="llvm"')
        taken = bound.step_seconds(arrays, seconds)
        flushed = bound.step_seconds(arrays, seconds / 4, flush=True)
    return with_times(found.compilation.report(), taken, flushed)


def take_turns(calls: Sequence[Callable[[], Any]], seconds: float) -> list[tuple[float, ...]]:
    """For each candidate the seconds of a call in each round; a round takes it an equal share of the time."""
    share = seconds / ROUNDS
    counts = [max(1, round(share / max(call_seconds(call, 1), 1e-7))) for call in calls]
    rounds = [[call_seconds(call, n) for call, n in zip(calls, counts, strict=True)] for _ in range(ROUNDS)]
    return [tuple(r[i] for r in rounds) for i in range(len(calls))]


def call_seconds(call: Callable[[], Any], count: int) -> float:
    """Seconds of a call, from this many, until devices have done what was asked of them."""
    start = time.perf_counter()
    for _ in range(count):
        call()
    wait_for_all()
    return (time.perf_counter() - start) / count


@contextmanager
def kept(variables: Iterable[Variable]) -> Iterator[None]:
    """The Variables have their values again afterwards."""
    saved = [(v.storage, v.storage.array.copy()) for v in variables]
    try:
        yield
    finally:
        with call_lock:
            for storage, value in saved:
                storage.write(value)


def example_values(tree: Any) -> Any:
    """The arguments, with arrays in place of specs: normal random numbers, or zeros for what may be an index."""
    rng = np.random.default_rng(0)
    return pytree.unflatten(tree, [_value(x, rng) for x in pytree.leaves(tree)])


def _value(x: Any, rng: np.random.Generator) -> Any:
    if not isinstance(x, Spec):
        return x
    type_ = x.resolve(None, {})
    array = rng.standard_normal(type_.shape) if type_.dtype.is_float else np.zeros(type_.shape)
    return concrete(np.asarray(array).astype(type_.dtype.numpy))


def _time(seconds: float) -> str:
    unit, scale = next(
        (u, s) for u, s in (("s", 1), ("ms", 1e3), ("µs", 1e6), ("ns", 1e9)) if seconds * s >= 1 or u == "ns"
    )
    digits = max(0, 2 - int(math.log10(max(seconds * scale, 1))))
    return f"{seconds * scale:.{digits}f} {unit}"
