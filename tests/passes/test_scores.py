"""Attention found in traced programs: what kernels are cut of it, what memory they need, and what they compute."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn
from graphc.costs import CPU, Costs
from graphc.dataclass import replace
from graphc.decision import Verdict
from graphc.evaluate import evaluate_graph
from graphc.kernel import Kernel, KernelKind, Reduce
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


def _second(program: Program) -> tuple[Callable[..., Any], list[np.ndarray]]:
    """The gradient of a gradient's size."""

    def gradient(*args: Any) -> Any:
        first = gx.grad(lambda *x: gx.sum(gx.sin(program.function(*x))), argnums=(0, 1, 2))
        return gx.grad(lambda *x: sum(gx.sum(t * t) for t in first(*x)), argnums=(0, 1, 2))(*args)

    return gradient, program.arguments()


def _tangent(program: Program) -> tuple[Callable[..., Any], list[np.ndarray]]:
    return lambda *x: gx.jvp(program.function, x, x), program.arguments()


FURTHER = {"second": _second, "tangent": _tangent}


def _attentions(plan: Schedule) -> list[Any]:
    """The kernels that make scores and store none."""
    kernels = [s.kernel for s in leaves(plan.steps) if hasattr(s, "kernel")]
    return [
        k
        for k in kernels
        if k.kind is KernelKind.ATTENTION and not any(s.index.axes & {*k.row} for s in k.stores)
    ]


def _scores(plan: Schedule, heads: int) -> list[str]:
    """Buffers as large as scores, but for what the caller gives."""
    own = [b for b in plan.buffers if b.space is not Space.INPUT]
    return [f"{b.name} {b.type}" for b in own if b.type.size >= heads * T * T]


@pytest.mark.parametrize(
    ("name", "way"),
    [*((n, w) for n in PROGRAMS for w in WAYS), *((n, w) for n in ("causal", "by hand") for w in FURTHER)],
)
def test_no_scores_are_in_memory(name: str, way: str) -> None:
    function, args = (WAYS | FURTHER)[way](PROGRAMS[name])
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


def _reasons(plan: Schedule) -> str:
    return "\n".join(r for s in leaves(plan.steps) for r in getattr(s, "reasons", ()))


def _planned(function: Callable[..., Any], *args: Any, costs: Costs = MEMORY, why: str = "") -> Schedule:
    return schedule(gx.compile(function).graph(*args), costs, refuses=lambda kernel: why or refuses(kernel))


def test_scores_that_somebody_takes_whole_are_stored() -> None:
    def shown(q: Any, k: Any, v: Any) -> Any:
        weights = nn.softmax(q @ gx.matrix_transpose(k), axis=-1)
        return weights @ v, weights

    def sorted_too(q: Any, k: Any, v: Any) -> Any:
        weights = nn.softmax(q @ gx.matrix_transpose(k), axis=-1)
        return weights @ v, gx.sort(weights, axis=-1)[..., 0]

    args = PROGRAMS["plain"].arguments()
    for function, what in ((shown, "is a result"), (sorted_too, "is a result|whole")):
        plan = _planned(function, *args)
        assert not _attentions(plan)
        assert re.search(f"scores are stored: .*({what})", _reasons(plan))


def test_what_a_backend_refuses_is_as_it_was() -> None:
    args = PROGRAMS["causal"].arguments()
    plan = _planned(PROGRAMS["causal"].function, *args, why="it has no tiles for that")
    assert not _attentions(plan) and "scores are stored: it has no tiles for that" in _reasons(plan)
    usual = schedule(gx.compile(PROGRAMS["causal"].function).graph(*args), MEMORY)
    assert [s.kernel for s in leaves(plan.steps)] == [s.kernel for s in leaves(usual.steps)]  # type: ignore[union-attr]


def test_what_is_refused_as_one_is_cut_into_more() -> None:
    def one_at_a_time(kernel: Kernel) -> str:
        reduces = [v for v in kernel.values if isinstance(v, Reduce)]
        return "maxima and sums at once" if len(reduces) > 1 else ""

    program = PROGRAMS["causal"]
    graph = gx.compile(program.function).graph(*program.arguments())
    plan = schedule(graph, MEMORY, refuses=one_at_a_time)
    assert len(_attentions(plan)) == 2 and _scores(plan, BATCH * HEADS) == []
    (expected,), _ = evaluate_graph(graph, program.arguments(), [])
    (got,) = run_schedule(plan, program.arguments())
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6)


def test_small_scores_are_stored_where_that_is_faster() -> None:
    """What a gradient takes longer to compute anew than to load, in a cache, and what is no larger than the factors."""
    function, args = _backward(PROGRAMS["plain"])
    plan = schedule(gx.compile(function).graph(*args), replace(CPU, product=1.0), refuses=refuses)
    assert not _attentions(plan) and "to compute the scores anew takes longer" in _reasons(plan)
    one = Program(PROGRAMS["plain"].function, ((BATCH, HEADS, 1, 64), (BATCH, HEADS, T, 64), (BATCH, HEADS, T, 64)))
    assert not _attentions(_planned(one.function, *one.arguments()))


def test_a_hidden_layer_is_no_attention() -> None:
    """It is larger than what it is made of, too, but better a product by itself."""

    def mlp(x: Any, w: Any, v: Any) -> Any:
        return nn.gelu(x @ w) @ v

    args = [np.ones(s, np.float32) for s in ((300, 20), (20, 300), (300, 20))]
    both = lambda *x: gx.grad(lambda *y: gx.sum(mlp(*y)), argnums=(0, 1, 2))(*x)  # noqa: E731
    assert not _attentions(_planned(mlp, *args)) and not _attentions(_planned(both, *args))


def test_logits_of_many_terms_are_stored() -> None:
    """Computed twice more, they would take longer than all the rest; of few terms, they are scores as others."""

    def loss(h: Any, w: Any, target: Any) -> Any:
        logits = h @ w
        shifted = logits - gx.max(logits, axis=-1, keepdims=True)
        e = gx.exp(shifted)
        return -gx.sum((shifted - gx.log(gx.sum(e, axis=-1, keepdims=True))) * target) / 100

    for depth, few in ((8, True), (700, False)):
        args = [np.ones(s, np.float32) for s in ((1600, depth), (depth, 1600), (1600, 1600))]
        graph = gx.compile(lambda h, w, t: gx.grad(lambda h, w: loss(h, w, t), argnums=(0, 1))(h, w)).graph(*args)
        assert bool(_attentions(schedule(graph, refuses=refuses))) == few


def test_decisions_say_what_became_of_scores() -> None:
    plan = _planned(PROGRAMS["causal"].function, *PROGRAMS["causal"].arguments())
    (decision,) = (d for s in leaves(plan.steps) for d in getattr(s, "decisions", ()))
    assert decision.verdict is Verdict.FUSED and decision.saved > 0
    assert str(decision).startswith(f"fused: dot_general[{BATCH}, {HEADS}, {T}, 8]")


def test_dropout_is_drawn_again() -> None:
    """Its numbers are as many as scores, so that they are nowhere in memory either."""
    generator = gx.random.Generator(3)
    function = gx.compile(
        lambda q, k, v: nn.scaled_dot_product_attention(q, k, v, dropout_p=0.4, generator=generator)
    )
    args = PROGRAMS["plain"].arguments()
    both = gx.compile(lambda *x: gx.grad(lambda *y: gx.sum(function(*y)), argnums=(0, 1, 2))(*x))
    for compiled in (function, both):
        plan = schedule(compiled.graph(*args), MEMORY, refuses=refuses)
        assert _attentions(plan) and _scores(plan, BATCH * HEADS) == []
