"""Loops and branches as steps: what they give, on the oracle of schedules and in native code, and what they cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import ops
from graphc.evaluate import evaluate_graph
from graphc.ir import Graph
from graphc.passes import planned as planned_places
from graphc.passes.loop_plan import LoopPlan
from graphc.passes.pipeline import optimize
from graphc.passes.planned import key
from graphc.passes.schedule import schedule
from graphc.passes.scope import Scope
from graphc.passes.uses import Uses
from graphc.schedule import BranchStep, KernelStep, LoopStep, Schedule, Space, Step, leaves, titled
from graphc.settings import Settings
from graphc.text import parse
from graphc.types import TensorType, float32, int64
from tests.contract.backends import run_on
from tests.schedule_interpreter import run_schedule

F: Any = np.float32
RNG = np.random.default_rng(0)
XS = RNG.standard_normal((5, 4)).astype(F)
W = RNG.standard_normal((4, 4)).astype(F)


def recurrent(h: Any, x: Any, w: Any) -> Any:
    return gx.scan(lambda h, x: ((n := gx.tanh(h @ w + x)), n * 2), h, x)


def trade(x: Any, y: Any) -> Any:
    return gx.scan(lambda c, _: ((c[1], c[0] + c[1], c[2]), c[0]), (x, y, x * y), length=5)


def collatz(n: Any) -> Any:
    def step(c: Any) -> Any:
        n, steps = c
        return gx.where(n % 2 == 0, n // 2, 3 * n + 1), steps + 1

    return gx.while_loop(lambda c: c[0] != 1, step, (n, 0))


def newton(x: Any) -> Any:
    return gx.while_loop(lambda y: gx.max(gx.abs(y * y - x)) > 1e-4, lambda y: 0.5 * (y + x / y), gx.ones_like(x))


def chosen(x: Any, k: Any) -> Any:
    return gx.scan(
        lambda c, i: (gx.switch((i + k) % 3, [lambda c: c * 2, lambda c: c + 1, lambda c: c[::-1]], c), c),
        x, gx.arange(6),
    )  # fmt: skip


def nested(x: Any, w: Any) -> Any:
    def outer(c: Any, row: Any) -> Any:
        c, inner = gx.scan(lambda d, v: (d @ w * 0.5 + v, gx.sum(d)), c, row)
        d = gx.while_loop(lambda d: gx.sum(gx.abs(d)) > 1, lambda d: d * 0.5, c)
        return d, (inner, c)

    return gx.scan(outer, gx.ones(4), x)


def reverse(x: Any, y: Any) -> Any:
    return gx.scan(lambda c, xs: (c * 0.5 + xs[0] @ xs[1], (c, xs[0])), gx.zeros(()), (x, y), reverse=True)


def stacks(x: Any) -> Any:
    return gx.while_loop(lambda c: c < 9, lambda c: c + x, gx.asarray(0), max_steps=7)


def gradient(h: Any, x: Any, w: Any) -> Any:
    return gx.grad(lambda w: gx.sum(recurrent(h, x, w)[1] ** 2))(w)


def training(w: Any, x: Any) -> Any:
    def step(w: Any, row: Any) -> Any:
        loss, slope = gx.value_and_grad(lambda w: gx.sum((w @ row - 1) ** 2))(w)
        return w - 0.05 * slope, loss

    return gx.scan(step, w, x)


def again(x: Any, w: Any) -> Any:
    first = gx.tanh(x[0] @ w)
    return recurrent(first, x, w)[0] + first


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "recurrent": (recurrent, (np.zeros(4, F), XS, W)),
    "recurrent, even": (recurrent, (np.zeros(4, F), XS[:4], W)),
    "recurrent, in batches": (recurrent, (np.zeros((3, 4), F), RNG.standard_normal((6, 3, 4)).astype(F), W)),
    "a stack of what is carried": (
        lambda h, x, w: gx.scan(lambda h, x: ((n := gx.tanh(h @ w + x)), (n, n)), h, x), (np.zeros(4, F), XS, W),
    ),
    "a first value that is read again": (again, (XS, W)),
    "one step": (recurrent, (np.zeros(4, F), XS[:1], W)),
    "no step": (recurrent, (np.ones(4, F), XS[:0], W)),
    "carries that change places": (trade, (XS, XS + 1)),
    "collatz": (collatz, (np.int64(27),)),
    "no iteration": (collatz, (np.int64(1),)),
    "newton": (newton, (np.array([4, 9, 2], F),)),
    "choices in a scan": (chosen, (XS[0], np.int64(1))),
    "loops in a loop": (nested, (RNG.standard_normal((3, 2, 4)).astype(F), W)),
    "backwards": (reverse, (XS, XS + 1)),
    "a while_loop that stacks": (stacks, (np.int64(2),)),
    "the gradient of a scan": (gradient, (np.zeros(4, F), XS, W)),
    "training in a scan": (training, (W, XS)),
    "a dynamic count": (lambda n, x: gx.fori_loop(0, n, lambda i, c: c * 2 + i, x), (np.int64(5), np.ones(3, F))),
    "a condition": (lambda p, x: gx.cond(p, lambda x: x + 1, lambda x: gx.sin(x), x), (np.bool_(True), XS)),
}  # fmt: skip


def planned(function: Callable[..., Any], *args: Any) -> Schedule:
    return gx.compile(function).schedule(*args)


def flat(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in gx.frontend.pytree.leaves(tree)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_steps_mean_what_the_graph_means(name: str) -> None:
    function, args = PROGRAMS[name]
    with gx.using(backend="reference"):
        expected = flat(gx.compile(function)(*args))
    for plan in (planned(function, *args), schedule(gx.trace(function, *args))):  # optimized or not
        found = run_schedule(plan, [np.asarray(a) for a in args])
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a.reshape(b.shape), b, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", PROGRAMS)
def test_native_code_gives_the_same(name: str, threads: int) -> None:
    function, args = PROGRAMS[name]
    with gx.using(backend="reference"):
        expected = flat(gx.compile(function)(*args))
    with gx.using(threads=threads):
        run = gx.compile(function)
        for _ in range(2):
            for a, b in zip(flat(run(*args)), expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("steps", [0, 3, 5, 9, -2])
@pytest.mark.parametrize("reverse", [False, True])
def test_rows_that_no_iteration_makes_are_zero(steps: int, reverse: bool) -> None:
    carry, row = (ops.input(type=TensorType(float32, (4,)), name=name) for name in "cx")
    body = Graph((carry, row), (), (), (ops.add(carry, row), ops.multiply(carry, row)))
    count, first = ops.input(type=TensorType(int64, ()), name="n"), ops.input(type=TensorType(float32, (4,)), name="c")
    xs = ops.input(type=TensorType(float32, (5, 4)), name="xs")
    loop = ops.scan(count, first, xs, body=body, consts=0, carries=1, length=5, reverse=reverse, counted=True)
    graph = Graph((count, first, xs), (), (), (ops.item(loop, index=0), ops.item(loop, index=1)))
    inputs = [np.array(steps), XS[0], XS]
    for a, b in zip(run_schedule(schedule(graph), inputs), evaluate_graph(graph, inputs)[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    for a, b in zip(run_on("llvm", graph, inputs), evaluate_graph(graph, inputs)[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def only(steps: tuple[Step, ...], kind: type) -> Any:
    (found,) = [s for s in steps if isinstance(s, kind)]
    return found


def test_what_is_small_and_read_before_it_is_written_is_carried_in_place() -> None:
    loop = only(planned(collatz, np.int64(27)).steps, LoopStep)
    assert not loop.windows and not loop.swaps and len(loop.body) == 1


def test_what_a_product_reads_is_carried_in_two_places() -> None:
    plan = planned(recurrent, *PROGRAMS["recurrent"][1])
    loop = only(plan.steps, LoopStep)
    (pair,) = loop.swaps
    own_indices = {w.buffer: plan.buffers[w.of].space for w in loop.windows}
    assert {own_indices[b] for b in pair} == {Space.ARENA, Space.OUTPUT}
    assert len(loop.body) == 1, "slices are read and written where they are"


def test_what_is_carried_and_stacked_is_written_to_both_places_at_once() -> None:
    function, args = PROGRAMS["a stack of what is carried"]
    (step,) = only(planned(function, *args).steps, LoopStep).body
    assert len(step.kernel.stores) == 2 and len({s.value for s in step.kernel.stores}) == 1


def test_temporaries_of_a_body_do_not_grow_with_the_length() -> None:
    def size(length: int) -> int:
        return planned(lambda x: gx.scan(lambda c, _: ((c @ c.T @ c), None), x, length=length), W).arena_bytes

    assert size(3) == size(3001)


def test_first_values_that_are_computed_are_made_where_the_loop_reads_them() -> None:
    plan = planned(lambda x, w: recurrent(gx.zeros((4,)) + gx.sum(x), x, w), XS, W)
    loop = only(plan.steps, LoopStep)
    assert not loop.start
    assert not any(s.ops == ("copy",) for s in leaves(plan.steps))


def test_work_on_a_variable_that_no_step_changes_is_done_once() -> None:
    w, xs = gx.Variable(np.zeros((64, 64), F)), np.zeros((5, 64), F)
    plan = planned(lambda x: gx.scan(lambda h, x: (gx.tanh(h @ gx.exp(w) + x), None), gx.zeros(64), x)[0], xs)
    assert "exp" in [op for s in leaves(plan.prepare) for op in s.ops]
    assert "exp" not in [op for s in leaves(plan.steps) for op in s.ops]


def test_a_branch_is_a_step_with_arms() -> None:
    plan = planned(PROGRAMS["a condition"][0], *PROGRAMS["a condition"][1])
    branch = only(plan.steps, BranchStep)
    assert len(branch.arms) == 2 and all(isinstance(s, KernelStep) for arm in branch.arms for s in arm)


def test_a_bad_index_in_a_loop_changes_nothing_and_names_the_line() -> None:
    v = gx.Variable(np.zeros(4, F))

    @gx.compile
    def step(i: Any) -> Any:
        total, _ = gx.scan(lambda c, i: (c + gx.take(gx.arange(4.0), i), None), gx.asarray(0.0), i)  # here
        v.assign(v + total)
        return total

    assert step(np.array([1, 2])).item() == 3
    with pytest.raises(IndexError, match="here"):
        step(np.array([1, 2, 77, 1])[:4])
    assert v.value.tolist() == [3] * 4


def test_a_long_while_loop_takes_no_memory() -> None:
    run = gx.compile(lambda n: gx.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * 0.5), (0, 1.0)))
    assert run.schedule(np.int64(3)).arena_bytes <= 64
    assert run(np.int64(300_000))[0].item() == 300_000


def _found(names: Any = PROGRAMS) -> bool:
    """Whether some program is not planned right, or not at all."""
    for name in names:
        try:
            test_steps_mean_what_the_graph_means(name)
        except Exception:
            return True
    return False


def _no_lives_in_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = planned_places.Lives._touch
    monkeypatch.setattr(planned_places.Lives, "_touch", lambda self, places, loops: whole(self, places, ()))


def _everything_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Uses, "can_overwrite", lambda self, old, new: len(self.writers[key(new)]) == 1)


def _claims_what_others_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scope, "_readers", defaultdict(lambda: 1))


def _always_forwards(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LoopPlan._slice
    monkeypatch.setattr(LoopPlan, "_slice", lambda self, of, row, reverse, at=0: right(self, of, row, False, at))


def _the_other_place_last(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LoopPlan._first

    def first(self: LoopPlan, scope: Scope, number: int) -> Any:
        length, self.length = self.length, (self.length or 0) + 1
        try:
            return right(self, scope, number)
        finally:
            self.length = length

    monkeypatch.setattr(LoopPlan, "_first", first)


FAULTS = [_no_lives_in_loops, _everything_over, _claims_what_others_read, _always_forwards, _the_other_place_last]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__.strip("_"))
def test_planted_faults_are_found(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fault(monkeypatch)
    assert _found()


def _saves_what_it_was(w: Any, xs: Any) -> Any:
    h, ys = gx.scan(lambda h, x: ((n := gx.tanh(h @ w + x)), n * 2), xs[0] * 0.5, xs)
    return gx.sum(ys**2) + gx.sum(h)


KEPT: dict[str, tuple[Callable[..., Any], int]] = {  # and how many copies there are in loops
    "for a gradient": (lambda w, xs: gx.grad(_saves_what_it_was, (0, 1))(w, xs), 0),
    "for a gradient in a loop": (
        lambda w, xs: gx.scan(lambda c, x: (c, gx.grad(_saves_what_it_was)(w, x * xs)), None, xs)[1], 0,
    ),
    "for a second gradient": (
        lambda w, xs: gx.grad(lambda w: gx.sum(gx.grad(_saves_what_it_was)(w, xs) ** 2))(w), 4,
    ),
    "as a result": (lambda w, xs: gx.scan(lambda h, x: (gx.tanh(h @ w + x), h), xs[0], xs), 1),
    "in reverse": (lambda w, xs: gx.sum(gx.scan(lambda h, x: (h @ w + x, h), xs[0], xs, reverse=True)[1]), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_what_a_carry_was_is_stacked_without_copies(name: str) -> None:
    function, copies = KEPT[name]
    graph = optimize(gx.trace(function, W, XS), Settings())
    plan = schedule(graph)
    bodies = [step.body for _, step in titled(plan) if isinstance(step, LoopStep)]
    found = [s for body in bodies for s in body if isinstance(s, KernelStep) and s.ops == ("copy",)]
    assert len(found) <= copies
    wanted, _ = evaluate_graph(graph, [W, XS])
    for backend in ("kernels", "llvm", "triton"):
        for a, b in zip(run_on(backend, graph, [W, XS]), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6, err_msg=backend)


def test_what_a_step_hands_on_as_it_is_is_stacked_too() -> None:
    """A copy from a place to itself is no step, but for what it stores elsewhere."""
    graph = parse("""graph(%x: float32[3]) {
      %0 = scan(%x) {body = graph(%i: float32[3]) {
        %0 = delay(%i, %i)
        return %0, %0
      }, consts = 0, carries = 1, length = 4, reverse = false, counted = false}
      %1 = item(%0) {index = 1}
      return %1
    }""")
    for backend in ("kernels", "llvm", "triton"):
        assert (run_on(backend, graph, [XS[0, :3]])[0] == XS[0, :3]).all(), backend
