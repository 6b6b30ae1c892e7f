"""`gx.bench`: the same calls on several backends, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..brief import brief
from ..dataclass import dataclass
from ..errors import ArgumentError, UnsupportedError
from ..frontend.location import with_user_line
from ..frontend.variable import Variable
from ..settings import BACKENDS
from .benchmark import Benchmark, call_seconds, example_values, kept, take_turns
from .executable import Executable


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
    if not isinstance(args, list | tuple):
        raise ArgumentError("args is a list with each argument", got=brief(args), hint="gx.bench(fn, [x])")
    if isinstance(backends, str):
        raise ArgumentError("backends is a list of names", got=brief(backends), hint=f"[{brief(backends)}]")
    own = function if isinstance(function, Executable) else Executable(function)
    values: tuple[Any, ...] = example_values(tuple(args))
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
            with kept(variables):
                first[backend] = call_seconds(partial(candidate, *values), 1)
        except UnsupportedError as error:
            missing[backend] = " ".join(str(error).split())
        else:
            calls[backend] = partial(candidate, *values)
    with kept(variables):
        rounds = take_turns(list(calls.values()), seconds)
    results = {name: Benchmark(r, first[name]) for name, r in zip(calls, rounds, strict=True)}
    return Comparison(own.__qualname__, results, missing)
