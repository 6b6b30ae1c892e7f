"""The texts of causal attention as people write it, and of its gradient: the graph once sums are rearranged, and steps.

A change of them should be meant: look at the difference, then run with --update-golden.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

import graphc as gx
from graphc.costs import CPU
from graphc.passes.rearrange_scores import rearrange_scores
from graphc.passes.schedule import schedule
from tests.attention_forms import refuses
from tests.passes.attention_programs import causal


def gradient(q: Any, k: Any, v: Any, weights: Any) -> Any:
    return gx.grad(lambda *x: gx.sum(causal(*x) * weights), argnums=(0, 1, 2))(q, k, v)


ROWS = gx.spec((2, 4, 256, 32))
CASES: dict[str, tuple[Callable[..., Any], list[gx.Spec]]] = {
    "forward": (causal, [ROWS] * 3),
    "gradient": (gradient, [ROWS] * 4),
}


@pytest.mark.parametrize("name", CASES)
def test_stages(name: str, golden: Any) -> None:
    function, specs = CASES[name]
    graph = gx.compile(function, inputs=specs).specialize().compilation.graph
    for stage, text in (
        ("rearranged", rearrange_scores(graph, CPU, refuses)),
        ("schedule", schedule(graph, CPU, refuses=refuses)),
    ):
        golden(f"attention/{name}.{stage}.txt", re.sub(r"(\.py):\d+", r"\1", str(text)))
