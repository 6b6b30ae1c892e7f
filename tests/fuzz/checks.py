"""Runs random graphs through the compiler, stage by stage as `compile.py` does, and compares with the reference.

In: seeds. Out: how much was compared, and what failed, with the first stage at which it went wrong.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from graphc.backends.backend import Backend
from graphc.costs import CPU, Costs
from graphc.ir import Graph, everywhere, map_graphs
from graphc.passes.cut_scores import Refuses, no_backend
from graphc.passes.loops import without_checkpoints
from graphc.passes.pipeline import optimize
from graphc.passes.schedule import schedule
from graphc.schedule import Schedule
from graphc.settings import Check, Settings
from graphc.storage import Storage
from tests.schedule_interpreter import run_schedule

from .random_graphs import Case, random_case, with_gradients
from .stability import Coverage, Expected, run

FIRST = int(os.environ.get("FUZZ_SEED", "0"))
SHOWN = 3  # failures in full

Run = Callable[[Schedule, list[np.ndarray], list[Storage]], list[np.ndarray]]


@dataclass
class Summary:
    """What a round of seeds has found."""

    seeds: range
    coverage: Coverage = field(default_factory=Coverage)
    ops: set[str] = field(default_factory=set)
    failures: dict[int, str] = field(default_factory=dict)

    def __str__(self) -> str:
        first, last = self.seeds[0], self.seeds[-1]
        share = self.coverage.compared / max(self.coverage.total, 1)
        return (
            f"seeds {first} … {last}: {len(self.seeds)} graphs, {len(self.ops)} ops, {self.coverage.total} elements, "
            f"{share:.1%} of them compared, {len(self.failures)} failures"
        )

    def raise_failures(self) -> None:
        """Raise AssertionError that says what failed, and how to repeat it."""
        if self.failures:
            shown = [f"FUZZ_SEED={seed} FUZZ_COUNT=1: {text}" for seed, text in self.failures.items()]
            raise AssertionError(f"{self}, of seeds {list(self.failures)}\n" + "\n\n".join(shown[:SHOWN]))


def check_seeds(seeds: range, check: Callable[[int, Summary], None]) -> Summary:
    """Apply a check to each seed; one that fails does not keep the others from being tried."""
    summary = Summary(seeds)
    for seed in seeds:
        try:
            check(seed, summary)
        except Exception as error:  # whatever the compiler raises for a legal graph is a failure
            place = "" if isinstance(error, AssertionError) else f" at {_place(error)}"
            notes = "\n".join(getattr(error, "__notes__", ()))
            summary.failures[seed] = f"{type(error).__name__}{place}: {error}\n{notes}"
    return summary


def _place(error: Exception) -> str:
    *_, frame = traceback.walk_tb(error.__traceback__)
    return f"{frame[0].f_code.co_filename}:{frame[1]}"


def cases(seed: int, make: Callable[[int], Case] = random_case) -> Iterable[Case]:
    """The graph of a seed, and the same with gradients."""
    case = make(seed)
    yield case
    wider = with_gradients(case, seed)
    if wider is not None:
        yield wider


def on(backend: Backend, settings: Settings) -> Run:
    """How a backend runs a schedule."""

    def run(lowered: Schedule, inputs: list[np.ndarray], variables: list[Storage]) -> list[np.ndarray]:
        return list(map(np.asarray, backend.build(lowered, settings).bind(variables)(inputs)))

    return run


def check_on(
    execute: Run,
    seed: int,
    summary: Summary,
    plain: bool = True,
    make: Callable[[int], Case] = random_case,
    costs: Costs = CPU,
    refuses: Refuses = no_backend,
) -> None:
    """A seed's graphs on a backend against the reference; `plain`: also as they are, not optimized. `refuses`: which
    kernels of scores are not to be cut."""
    for case in cases(seed, make):
        graph = case.graph
        summary.ops |= {n.op.name for n in everywhere(graph)}
        expected = Expected(graph, case.inputs, case.variables)
        with stage("optimize", graph):
            optimized = optimize(graph, Settings(check=Check.ALL))
            expected.compare(run(optimized, case.inputs, case.variables))
        as_it_is = map_graphs(graph, without_checkpoints)
        for lowered in (optimized, as_it_is) if plain else (optimized,):
            summary.coverage += _compare(execute, lowered, case, expected, costs, refuses)


def _compare(
    execute: Run, graph: Graph, case: Case, expected: Expected, costs: Costs, refuses: Refuses
) -> Coverage:
    with stage("schedule", graph):
        planned = schedule(graph, costs, refuses=refuses)
    try:
        return expected.compare(visible(execute, planned, graph, case))
    except Exception:
        with stage("schedule", graph):  # what it means already is something else
            expected.compare(visible(run_schedule, planned, graph, case))
        with stage("backend", graph):
            raise


def visible(execute: Run, planned: Schedule, graph: Graph, case: Case) -> list[np.ndarray]:
    """What can be seen of a run: outputs, then each variable's value afterwards."""
    storages = [Storage(a, n.tensor_type) for a, n in zip(case.variables, graph.variables, strict=True)]
    return [*execute(planned, case.inputs, storages), *(s.array for s in storages)]


@contextmanager
def stage(name: str, graph: Graph) -> Iterator[None]:
    """Errors say at which stage they came up, and on which graph."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in the stage {name}, on\n{graph}")
        raise
