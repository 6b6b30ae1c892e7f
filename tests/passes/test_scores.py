"""Attention found in traced programs: what kernels are cut of it, what memory they need, and what they compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.costs import CPU
from graphc.dataclass import replace
from graphc.evaluate import evaluate_graph
from graphc.kernel import KernelKind
from graphc.passes.schedule import schedule
from graphc.schedule import Schedule, Space, leaves
from graphc.verify_kernel import verify_kernel
from tests.attention_forms import refuses
from tests.passes.attention_programs import BATCH, HEADS, PROGRAMS, Program, T
from tests.schedule_interpreter import run_schedule


def _forward(program: Program) -> tuple[Callable[..., Any], list[np.ndarray]]:
    return program.function, program.arguments()


def _backward(program: Program) -> tuple[Callable[..., Any], list[np.ndarray]]:
    args = program.arguments()
    result = gx.compile(program.function).graph(*args).outputs[0]
    weights = np.random.default_rng(9).standard_normal(result.shape).astype(program.dtype)
    return program.backward(), [*args, weights]


# Memory matters more than time, whatever the size.
MEMORY = replace(CPU, cache=0)
WAYS = {"forward": _forward, "backward": _backward}


def _attentions(plan: Schedule) -> list[Any]:
    kernels = [s.kernel for s in leaves(plan.steps) if hasattr(s, "kernel")]
    return [k for k in kernels if k.kind is KernelKind.ATTENTION]


def _scores(plan: Schedule, heads: int) -> list[str]:
    """Buffers as large as scores, but for what the caller gives."""
    own = [b for b in plan.buffers if b.space is not Space.INPUT]
    return [f"{b.name} {b.type}" for b in own if b.type.size >= heads * T * T]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_no_scores_are_in_memory(name: str, way: str) -> None:
    function, args = WAYS[way](PROGRAMS[name])
    graph = gx.compile(function).graph(*args)
    plan = schedule(graph, MEMORY, refuses=refuses)
    found = _attentions(plan)
    assert found
    for kernel in found:
        verify_kernel(kernel)
    assert _scores(plan, 1 if name == "one head" else BATCH * HEADS) == []
    expected, _ = evaluate_graph(graph, args, [])
    tolerance = {"float16": 4e-3, "float32": 2e-5, "float64": 1e-12}[PROGRAMS[name].dtype]
    for got, want in zip(run_schedule(plan, args), expected, strict=True):
        scale = np.abs(want.astype(np.float64)).max() + 1
        np.testing.assert_allclose(got.astype(np.float64) / scale, want.astype(np.float64) / scale, atol=tolerance)
