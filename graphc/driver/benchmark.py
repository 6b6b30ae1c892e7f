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

from ..brief import brief
from ..dataclass import dataclass
from ..errors import ArgumentError, UnsupportedError
from ..frontend import pytree
from ..frontend.arguments import Arguments
from ..frontend.location import with_user_line
from ..frontend.spec import Spec
from ..frontend.tensor import concrete
from ..frontend.variable import Variable
from ..hook import call_lock
from ..settings import BACKENDS

if TYPE_CHECKING:
    from .executable import Executable
    from .loaded import Loaded
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


@dataclass(frozen=True)
class Comparison:
    """The same calls on several backends; `missing` says why others could not take part."""

    name: str
    results: dict[str, Benchmark]
    missing: dict[str, str]

    def __str__(self) -> str:
        width = max(map(len, (*self.results, *self.missing)), default=0)
        rows = [f"  {name:<{width}}  {text}" for name, text in (*self.results.items(), *self.missing.items())]
        return "\n".join([self.name, *rows])

    def __repr__(self) -> str:
        return str(self)


def measure(executable: Executable | Loaded, args: Sequence[Any], kwargs: dict[str, Any], seconds: float) -> Benchmark:
    """Call for about so many seconds; see `Executable.benchmark`."""
    values, named = _values((tuple(args), kwargs))
    call = partial(executable, *values, **named)
    with _kept(executable.specialize(*values, **named).variables):
        first = _seconds(call, 1)
        (rounds,) = _take_turns([call], seconds)
    return Benchmark(rounds, first)


def timed_report(executable: Executable, args: Sequence[Any], kwargs: dict[str, Any], seconds: float = 1.0) -> Report:
    """See `Executable.report`."""
    from ..backends.backend import Timed
    from .report import with_times

    values, named = _values((tuple(args), kwargs))
    found = executable.specialize(*values, **named)
    arrays = Arguments.of(executable.function, values, named).arrays
    with _kept(found.variables), call_lock:
        bound = found.compilation.built.bind([v.storage for v in found.variables])
        if not isinstance(bound, Timed):
            name = found.compilation.settings.backend
            raise UnsupportedError(f"the {name} backend can't time its kernels", hint='compile with backend="llvm"')
        taken = bound.step_seconds(arrays, seconds)
    return with_times(found.compilation.report(), taken)


@with_user_line
def bench(
    function: Callable[..., Any],
    args: Sequence[Any] = (),
    *,
    backends: Sequence[str] | None = None,
    seconds: float = 1.0,
) -> Comparison:
    """Call a function, compiled or not, on several backends, for about so many seconds on each.

    args: a list with an array for each argument, or a `gx.spec` for a random one. Variables start from the same values
    on each backend, and are as before afterwards. A backend that can't run the function here is listed with its reason.
    """
    from .executable import Executable

    if not isinstance(args, list | tuple):
        raise ArgumentError("args is a list with each argument", got=brief(args), hint="gx.bench(fn, [x])")
    if isinstance(backends, str):
        raise ArgumentError("backends is a list of names", got=brief(backends), hint=f"[{brief(backends)}]")
    own = function if isinstance(function, Executable) else Executable(function)
    values: tuple[Any, ...] = _values(tuple(args))
    calls: dict[str, Callable[[], Any]] = {}
    first: dict[str, float] = {}
    missing: dict[str, str] = {}
    variables: list[Variable] = []
    chosen = backends if backends is not None else [own.backend or own.settings.backend]
    if unknown := [b for b in chosen if b not in BACKENDS]:
        raise UnsupportedError("there is no such backend", got=unknown[0], hint="use " + " or ".join(BACKENDS))
    for backend in chosen:
        candidate = Executable(own.function, backend=backend, inputs=own.inputs)
        variables = list(candidate.specialize(*values).variables)
        try:
            with _kept(variables):
                first[backend] = _seconds(partial(candidate, *values), 1)
        except UnsupportedError as error:
            missing[backend] = " ".join(str(error).split())
        else:
            calls[backend] = partial(candidate, *values)
    with _kept(variables):
        rounds = _take_turns(list(calls.values()), seconds)
    results = {name: Benchmark(r, first[name]) for name, r in zip(calls, rounds, strict=True)}
    return Comparison(own.__qualname__, results, missing)


def _take_turns(calls: Sequence[Callable[[], Any]], seconds: float) -> list[tuple[float, ...]]:
    """For each candidate the seconds of a call in each round; a round takes it an equal share of the time."""
    share = seconds / ROUNDS
    counts = [max(1, round(share / max(_seconds(call, 1), 1e-7))) for call in calls]
    rounds = [[_seconds(call, n) for call, n in zip(calls, counts, strict=True)] for _ in range(ROUNDS)]
    return [tuple(r[i] for r in rounds) for i in range(len(calls))]


def _seconds(call: Callable[[], Any], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


@contextmanager
def _kept(variables: Iterable[Variable]) -> Iterator[None]:
    """The Variables have their values again afterwards."""
    saved = [(v.storage, v.storage.array.copy()) for v in variables]
    try:
        yield
    finally:
        with call_lock:
            for storage, value in saved:
                storage.write(value)


def _values(tree: Any) -> Any:
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
