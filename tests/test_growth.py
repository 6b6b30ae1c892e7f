"""Compiling takes work in proportion to the program: function calls are counted at a size and at twice the size."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from benchmarks.compile_time import (
    Prepared,
    chain,
    groups,
    layers,
    recurrent,
    stack,
    transformer,
    tree,
)
from graphc.backends.llvm.link.build import compile_kernels
from graphc.backends.llvm.link.tables import build_program
from graphc.backends.llvm.run.cache import ObjectCache
from graphc.backends.llvm.target import host_target

MOST_GROWTH = 2.1  # of the calls, when the size doubles


def counted(work: Callable[[], Any]) -> tuple[Any, int]:
    """What the work gives, and how many functions it calls, Python's own among them."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        result = work()
    finally:
        sys.setprofile(None)
    return result, calls


def stages(prepared: Prepared) -> dict[str, int]:
    """Calls in each stage from a function to its schedule."""
    function, arguments = prepared
    specialization, trace = counted(lambda: function.specialize(*arguments))
    compilation = specialization.compilation
    _, optimize = counted(lambda: compilation.graph)
    _, schedule = counted(lambda: compilation.schedule)
    return {"trace": trace, "optimize": optimize, "schedule": schedule}


@pytest.mark.parametrize(
    ("make", "size"),
    [(layers, 12), (chain, 200), (recurrent, 10), (stack, 300), (transformer, 3), (groups, 150), (tree, 1000)],
)
def test_work_grows_with_the_program(make: Callable[[int], Prepared], size: int) -> None:
    stages(make(size // 3 + 1))  # what is done once for all programs
    once, twice = stages(make(size)), stages(make(2 * size))
    growth = {stage: round(twice[stage] / once[stage], 2) for stage in once}
    assert all(g <= MOST_GROWTH for g in growth.values()), growth


def test_the_table_of_tasks_grows_with_the_program() -> None:
    def calls(size: int) -> int:
        function, arguments = layers(size)
        schedule = function.specialize(*arguments).compilation.schedule
        kernels = compile_kernels(
            (step.kernel for step in schedule.steps), host_target(), ObjectCache(None), function.settings
        )
        return counted(lambda: build_program(schedule, kernels))[1]

    calls(2)
    assert calls(24) <= MOST_GROWTH * calls(12)


# For each node of the trace, Python's own functions among them.
MOST_CALLS = {"trace": 75, "optimize": 105, "schedule": 175}


@pytest.mark.parametrize("make", [layers, transformer])
def test_a_node_takes_little_work(make: Callable[[int], Prepared]) -> None:
    stages(make(2))
    function, arguments = make(12)
    counts = stages((function, arguments))
    nodes = len(function.specialize(*arguments).compilation.traced.nodes)
    calls = {stage: count // nodes for stage, count in counts.items()}
    assert all(calls[stage] <= most for stage, most in MOST_CALLS.items()), calls
