"""Loops and choices as users write them: what they give, in a compiled function and at once, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn, ops
from graphc.ir import Graph, Node
from graphc.verify import verify

F: Any = np.float32
XS = np.arange(12, dtype=F).reshape(4, 3)


@pytest.fixture(autouse=True, params=["reference", "llvm"])
def _backend(request: Any) -> Any:
    with gx.using(backend=request.param):
        yield


def both(function: Callable[..., Any], *args: Any) -> Any:
    """What it gives at once, which is what it gives compiled."""
    verify(gx.trace(function, *args))
    once, compiled = function(*args), gx.compile(function)(*args)
    for a, b in zip(gx.frontend.pytree.leaves(once), gx.frontend.pytree.leaves(compiled), strict=True):
        wide, other = (np.asarray(x).astype(np.float64) for x in (a, b))
        np.testing.assert_allclose(wide, other, rtol=1e-6)
        assert a.dtype is b.dtype
    return once


def numbers(tree: Any) -> list[Any]:
    return [leaf.tolist() for leaf in gx.frontend.pytree.leaves(tree)]


def control_nodes(graph: Graph) -> list[Node]:
    return [n for n in graph.nodes if n.op in (ops.scan, ops.while_loop, ops.switch)]


# scan


def test_scan_is_the_loop() -> None:
    w = np.array([1, 2, 3], F)

    def step(h: gx.Tensor, x: gx.Tensor) -> tuple[gx.Tensor, gx.Tensor]:
        h = h * 0.5 + x * w
        return h, gx.sum(h)

    h, ys = both(lambda xs: gx.scan(step, gx.zeros(3), xs), XS)
    state, kept = gx.zeros(3), []
    for x in XS:
        state, y = step(state, gx.asarray(x))
        kept.append(y.item())
    assert h.tolist() == state.tolist() and ys.tolist() == kept


def test_scan_in_reverse_takes_and_stacks_from_the_end() -> None:
    last, ys = both(lambda xs: gx.scan(lambda c, x: (c + x, c), 0, xs, reverse=True), np.array([1, 2, 4]))
    assert last.item() == 7 and ys.tolist() == [6, 4, 0]


@pytest.mark.parametrize("length", [0, 1, 5])
def test_scan_without_slices(length: int) -> None:
    assert numbers(both(lambda: gx.scan(lambda c, x: (c * 2, (x, c)), 1, length=length))) == [
        2**length, [2**i for i in range(length)]
    ]  # fmt: skip


def test_scan_of_nothing_gives_what_it_starts_with() -> None:
    last, ys = both(lambda xs: gx.scan(lambda c, x: (c + x, c[0]), gx.ones(3), xs), XS[:0])
    assert last.tolist() == [1, 1, 1] and ys.shape == (0,)


def test_carries_slices_and_results_are_nests() -> None:
    def step(carry: Any, x: Any) -> Any:
        a, (b,) = carry["a"], carry["rest"]
        return {"a": a + x["u"], "rest": (b * x["v"][0],)}, [a, {"b": b, "none": None}]

    init = {"a": 1.0, "rest": (gx.ones(2),)}
    xs = {"u": np.array([1, 2], F), "v": (np.array([[2, 3], [4, 5]], F),)}
    carry, ys = both(lambda xs: gx.scan(step, init, xs), xs)
    assert numbers(carry) == [4, [8, 15]] and numbers(ys) == [[1, 2], [[1, 1], [2, 3]]]
    assert set(carry) == {"a", "rest"} and ys[1]["none"] is None


def test_python_numbers_take_the_dtype_that_the_body_gives_them() -> None:
    for dtype in (gx.float64, gx.bfloat16):
        last, _ = both(lambda xs: gx.scan(lambda c, x: (c + x, None), 0, xs), gx.ones(3, dtype=dtype))
        assert last.dtype is dtype and last.item() == 3
    assert both(lambda: gx.scan(lambda c, _: (c + 0.5, None), 0, length=2))[0].dtype is gx.float32
    assert both(lambda: gx.scan(lambda c, _: (0.5, None), 0, length=2))[0].item() == 0.5
    assert both(lambda x: gx.scan(lambda c, _: (1, None), x, length=2), F(3))[0].dtype is gx.float32


def test_python_numbers_take_turns_until_their_dtypes_are_known() -> None:
    def step(c: Any, x: Any) -> Any:
        return (*c[1:], c[0] + x), None

    carry, _ = both(lambda xs: gx.scan(step, (0,) * 12, xs), XS[:, 0])
    assert {leaf.dtype for leaf in carry} == {gx.float32}


def test_bodies_see_what_is_around_them() -> None:
    v, constant = gx.Variable(3.0), np.array([1, 1, 2], F)

    def f(x: gx.Tensor) -> gx.Tensor:
        y = x[0] * 2
        return gx.scan(lambda c, row: (c + row * y + constant * v, None), gx.zeros(3), x)[0]

    assert both(f, XS).tolist() == (XS.sum(0) * 2 * XS[0] + 4 * 3 * constant).tolist()
    (node,) = control_nodes(gx.trace(f, XS))
    assert node.attrs["consts"] == 3


def test_a_scan_in_a_scan() -> None:
    def outer(c: gx.Tensor, row: gx.Tensor) -> Any:
        return gx.scan(lambda d, x: (d + x * c, d), c, row)

    state: Any = 1.0
    kept: list[list[Any]] = []
    for row in XS:
        c = state
        kept.append([])
        for x in row:
            kept[-1].append(state)
            state = F(state + x * F(c))
    last, ys = both(lambda xs: gx.scan(outer, 1.0, xs), XS)
    assert last.item() == state and ys.tolist() == kept


# Variables


def test_variables_are_read_and_assigned_in_each_step() -> None:
    total, scale = gx.Variable(1.0), gx.Variable(2.0)

    def step(c: gx.Tensor, x: gx.Tensor) -> Any:
        total.assign(total + x * scale)
        return c + total, total.value

    def f(xs: Any) -> Any:
        scale.assign(10.0)
        last, ys = gx.scan(step, 0, xs)
        return last, ys, total + 0.5

    for call in (f, gx.compile(f)):
        total.assign(1.0)
        last, ys, after = call(np.array([1, 2], F))
        assert (last.item(), ys.tolist(), after.item(), total.item()) == (11 + 31, [11, 31], 31.5, 31)


def test_random_numbers_are_new_ones_in_each_step() -> None:
    generator = gx.random.Generator(7)

    def draws(count: int) -> Any:
        return gx.scan(lambda c, _: (c, gx.random.uniform((2,), generator=generator)), None, length=count)[1]

    for call in (draws, gx.compile(draws)):
        generator.seed(7)
        found = [call(3).tolist(), gx.random.uniform((2,), generator=generator).tolist()]
        generator.seed(7)
        wanted = [gx.random.uniform((2,), generator=generator).tolist() for _ in range(4)]
        assert [*found[0], found[1]] == wanted


def test_a_variable_that_one_branch_assigns() -> None:
    v = gx.Variable(1.0)

    def f(x: Any) -> Any:
        gx.cond(gx.sum(x) > 0, lambda: v.assign(v + 10), lambda: None)
        return v.value

    for call in (f, gx.compile(f)):
        v.assign(1.0)
        assert call(np.array([1, 2], F)).item() == v.item() == 11
        assert call(np.array([-1, -2], F)).item() == v.item() == 11


def test_modules_and_optimizers_work_in_bodies() -> None:
    """Steps of training in one loop do what they do one by one."""
    xs = np.random.default_rng(0).normal(size=(5, 8, 3)).astype(F)

    def losses(loop: bool) -> list[float]:
        gx.random.seed(0)
        model = nn.Linear(3, 1)
        optimizer = gx.optim.Adam(model, lr=0.1)

        def step(x: gx.Tensor) -> gx.Tensor:
            loss = gx.mean((model(x) - 1) ** 2)
            optimizer.minimize(loss)
            return loss

        if loop:
            found = gx.compile(lambda xs: gx.scan(lambda c, x: (c, step(x)), None, xs)[1])(xs).tolist()
        else:
            found = [gx.compile(step)(x).item() for x in xs]
        return [*found, *model.weight.numpy().ravel().tolist()]

    np.testing.assert_allclose(losses(True), losses(False), rtol=1e-6)


class Scaled(nn.Module):
    def __init__(self) -> None:
        self.scale = 2.0

    def forward(self, x: Any) -> Any:
        return x * self.scale


def test_what_bodies_read_is_watched() -> None:
    model, sizes = Scaled(), [1.0]

    def step(c: Any, x: Any) -> Any:
        return c + model(x) * sizes[0], None

    f = gx.compile(lambda xs: gx.scan(step, gx.zeros(3), xs)[0])
    assert f(XS).tolist() == (2 * XS.sum(0)).tolist()
    model.scale = 4.0
    assert f(XS).tolist() == (4 * XS.sum(0)).tolist()


def test_a_gradient_for_a_variable_that_a_loop_assigns_is_refused() -> None:
    w = gx.Variable(1.0)

    def f(x: Any) -> Any:
        def step(c: Any, _: Any) -> Any:
            w.assign(w * 0.5)
            return c + w * x, None

        return gx.gradients(gx.scan(step, 0.0, length=2)[0], w)

    with pytest.raises(gx.TraceError, match="before it was assigned"):
        gx.compile(f)(F(2))


def test_a_step_of_training_that_a_condition_decides_about() -> None:
    model = nn.Linear(3, 1)
    optimizer = gx.optim.Adam(model, lr=0.1)

    @gx.compile
    def train(x: Any, wanted: Any) -> Any:
        def step() -> Any:
            loss = gx.mean(model(x) ** 2)
            optimizer.minimize(loss)
            return loss

        return gx.cond(wanted, step, lambda: 0.0)

    before = model.weight.numpy().copy()
    assert train(XS, np.False_).item() == 0 and (model.weight.numpy() == before).all()
    assert train(XS, np.True_).item() > 0 and not (model.weight.numpy() == before).any()


# while_loop, fori_loop


def test_while_loop_is_the_loop() -> None:
    assert numbers(both(lambda x: gx.while_loop(lambda c: c[0] < 100, lambda c: (c[0] * x, c[1] + 1), (1, 0)),
                        F(3))) == [243, 5]  # fmt: skip
    assert both(lambda x: gx.while_loop(lambda c: c > 0, lambda c: c - 1, x), F(-4)).item() == -4
    assert both(lambda x: gx.while_loop(lambda c: c > 0, lambda c: c - 1, x, max_steps=3), F(9)).item() == 6
    assert both(lambda x: gx.while_loop(lambda c: c > 0, lambda c: c - 1, x, max_steps=0), F(9)).item() == 9


def test_a_condition_sees_variables_that_the_body_assigns() -> None:
    v = gx.Variable(1.0)

    def f() -> Any:
        def double(c: gx.Tensor) -> gx.Tensor:
            v.assign(v * 2)
            return c + 1

        return gx.while_loop(lambda c: v < 100, double, 0)

    assert gx.compile(f)().item() == 7 and v.item() == 128
    assert f().item() == 0


@pytest.mark.parametrize("bound", [4, np.int32(4)])
def test_fori_loop_counts(bound: Any) -> None:
    def f(upper: Any) -> Any:
        return gx.fori_loop(1, upper, lambda i, c: (c[0] + i, c[1] * 2), (0, gx.ones(2)))

    assert numbers(both(f, bound)) == [6, [8, 8]]
    assert numbers(both(lambda: gx.fori_loop(3, 1, lambda i, c: c + i, 0))) == [0]
    assert numbers(both(lambda n: gx.fori_loop(0, n, lambda i, c: c + 1, 0, max_steps=2), bound)) == [2]


# cond, switch


def test_cond_runs_one_of_both() -> None:
    def f(x: gx.Tensor) -> gx.Tensor:
        return gx.cond(gx.all(x > 0), lambda a: a * a, lambda a: -a, x)

    assert both(f, np.array([1, 3], F)).tolist() == [1, 9] and both(f, np.array([-1, 3], F)).tolist() == [1, -3]


def test_python_values_choose_while_tracing() -> None:
    graph = gx.trace(lambda x: gx.switch(7, [gx.sin, gx.cos], gx.cond(True, gx.exp, gx.log, x)), F(1))
    assert [n.op.name for n in graph.nodes] == ["input", "exp", "cos"]


@pytest.mark.parametrize("dtype", [gx.int8, gx.uint8, gx.int32, gx.uint32, gx.int64, gx.uint64])
def test_switch_takes_the_nearest_branch(dtype: gx.DType) -> None:
    def f(i: gx.Tensor) -> gx.Tensor:
        return gx.switch(i, [lambda: 0, lambda: 10, lambda: 20])

    wanted = {0: 0, 1: 10, 2: 20, 3: 20, dtype.max: 20, dtype.min: 0}
    for index, result in wanted.items():
        assert both(f, np.asarray(index, dtype.numpy)).item() == result


def test_branches_may_give_numbers_where_others_give_arrays() -> None:
    assert both(lambda p: gx.cond(p, lambda: 0, lambda: gx.asarray(2.5)), np.True_).dtype is gx.float32
    assert both(lambda p: gx.cond(p, lambda: 0, lambda: 2.5), np.True_).dtype is gx.float32


def test_arguments_of_branches_are_arrays_and_anything_else() -> None:
    v = gx.Variable(1.0)

    def f(p: gx.Tensor) -> gx.Tensor:
        return gx.cond(p, lambda x, name, w: x["a"] * 2 + w, lambda x, name, w: x["a"] * len(name), {"a": XS}, "abc", v)

    assert both(f, np.True_).tolist() == (XS * 2 + 1).tolist()
    assert both(f, np.False_).tolist() == (XS * 3).tolist()


def test_a_cond_in_a_scan_in_a_cond() -> None:
    def f(x: gx.Tensor) -> gx.Tensor:
        def step(c: gx.Tensor, row: gx.Tensor) -> Any:
            return gx.cond(c > 10, lambda: c - 10, lambda: c + gx.sum(row) * x[0, 1]), c

        return gx.cond(x[0, 0] >= 0, lambda: gx.scan(step, 0.0, x)[1], lambda: gx.zeros(4))

    assert both(f, XS).tolist() == [0, 3, 15, 5] and both(f, XS - 1).tolist() == [0, 0, 0, 0]


# What they refuse


ZEROS = np.zeros(3, F)
ARRAY: Any = gx.zeros(3)  # where a function should be


def scan(body: Any, init: Any = ZEROS, xs: Any = XS, **more: Any) -> Any:
    return gx.scan(body, init, xs, **more)


def f64(x: Any) -> gx.Tensor:
    return gx.astype(x, gx.float64)


REFUSED: list[tuple[type[Exception], str, Callable[[], Any]]] = [
    (gx.ShapeError, r"c\['h'\] goes into an iteration as float32\[3\]\n.*float32\[3, 3\], made at test_control.py:",
     lambda: scan(lambda c, x: ({"h": c["h"][:, None] + x}, None), {"h": gx.zeros(3)})),
    (gx.ShapeError, r"(?s)goes into.*start with shape \(3,\)", lambda: scan(lambda c, x: (c + x, None), F(0))),
    (gx.ShapeError, r"(?s)goes into.*stacked by gx.scan", lambda: scan(lambda c, x: (gx.concat([c, x]), None))),
    (gx.DTypeError, r"(?s)state goes into .* float32\[3\]\n.*float64\[3\].*gx.float64, or .*\(state, gx.float32",
     lambda: scan(lambda state, x: (f64(state), None))),
    (gx.DTypeError, "comes out as float32", lambda: scan(lambda c, x: (c + 1.5, None), np.int64(0))),
    (gx.DTypeError, "comes out as the number 1.5", lambda: scan(lambda c, x: (1.5, None), np.int64(0))),
    (gx.ShapeError, "comes out as the number 0", lambda: scan(lambda c, x: (0, None))),
    (gx.ShapeError, r"(?s)structure of what it starts.*another leaf at \[0\]",
     lambda: scan(lambda c, x: ((c, c), None))),
    (gx.ShapeError, r"(?s)structure.*no leaf at \['b'\]",
     lambda: scan(lambda c, x: ({"a": 1}, None), {"a": 1, "b": 2})),
    (gx.TraceError, "carry and what to keep", lambda: scan(lambda c, x: c)),
    (gx.ArgumentError, "scan calls its body with the carry and a slice", lambda: scan(lambda c: (c, None))),
    (gx.TraceError, "arrays and numbers\n.*'a' at y", lambda: scan(lambda c, x: (c, "a"))),
    (gx.TraceError, r"arrays and numbers\n.*Linear.* at c\[0\]", lambda: scan(lambda c, x: (c, x), (nn.Linear(1, 1),))),
    (gx.ShapeError, r"(?s)first axes.*1.0 at xs\[0\].*gx.asarray", lambda: scan(lambda c, x: (c, x), xs=[1.0, 2.0])),
    (gx.ShapeError, "(?s)at least one.*at xs", lambda: scan(lambda c, x: (c, x), xs=F(1))),
    (gx.ShapeError, r"3 of xs\['a'\], 4 of xs\['b'\]",
     lambda: scan(lambda c, x: (c, x), xs={"a": gx.zeros(3), "b": gx.zeros(4)})),
    (gx.ShapeError, "4 of xs, 5 of length", lambda: scan(lambda c, x: (c, x), length=5)),
    (gx.ShapeError, "-1 of length", lambda: scan(lambda c, x: (c, x), xs=None, length=-1)),
    (gx.ShapeError, "say how many", lambda: scan(lambda c, x: (c, x), xs=None)),
    (gx.DTypeError, "compare", lambda: gx.while_loop(lambda c: c, lambda c: c, 1.0)),
    (gx.ShapeError, "gx.any", lambda: gx.while_loop(lambda c: c > 0, lambda c: c, gx.zeros(2))),
    (gx.ShapeError, "max_steps", lambda: gx.while_loop(lambda c: c > 0, lambda c: c, 1, max_steps=-1)),
    (gx.TraceError, "only looks", lambda: gx.while_loop(lambda c: c > gx.random.uniform(()), lambda c: c, 1.0)),
    (gx.ArgumentError, "while_loop calls its cond", lambda: gx.while_loop(lambda: True, lambda c: c, 1.0)),
    (gx.DTypeError, r"total goes into .*int64", lambda: gx.fori_loop(0, 2, lambda i, total: total / 2, np.int64(1))),
    (gx.ArgumentError, "body with i and the carry", lambda: gx.fori_loop(0, 2, lambda i: i, 1)),
    (gx.DTypeError, "bounds", lambda: gx.fori_loop(0, F(2), lambda i, c: c, 1)),
    (gx.DTypeError, "one bool", lambda: gx.cond(F(1), lambda: 0, lambda: 0)),
    (gx.ShapeError, "shape ()", lambda: gx.cond(XS > 0, lambda: 0, lambda: 0)),
    (gx.DTypeError, r"result\[0\] is float32\[\] if p does not hold\n.*int64\[\] if p holds",
     lambda: gx.cond(np.True_, lambda: (gx.asarray(1),), lambda: (gx.asarray(1.0),))),
    (gx.ShapeError, "in branch 1", lambda: gx.switch(np.int32(1), [lambda: gx.zeros(2), lambda: gx.zeros(3)])),
    (gx.ShapeError, "structure", lambda: gx.cond(np.True_, lambda: {"a": 1}, lambda: {"b": 1})),
    (gx.DTypeError, "gx.cond chooses by a bool", lambda: gx.switch(np.True_, [lambda: 0])),
    (gx.TraceError, "at least one", lambda: gx.switch(np.int32(0), [])),
    (gx.ArgumentError, "try: body=", lambda: gx.scan(f=abs, init=0, length=1)),  # type: ignore[call-arg]
    (gx.ArgumentError, "not repeated", lambda: scan(abs, unroll=2)),
    *[(gx.TraceError, "(?s)that is a function.*lambda: x", no_function) for no_function in (
        lambda: gx.cond(np.True_, ARRAY, ARRAY), lambda: gx.cond(True, ARRAY, ARRAY),
        lambda: gx.switch(np.int32(0), [ARRAY]), lambda: scan(ARRAY), lambda: gx.while_loop(ARRAY, abs, 1),
        lambda: gx.while_loop(lambda c: c > 0, ARRAY, 1), lambda: gx.fori_loop(0, 2, ARRAY, 1))],
    (gx.ArgumentError, "cond calls it with", lambda: gx.cond(np.True_, lambda x: 0, lambda x: 0)),
]  # fmt: skip


@pytest.mark.parametrize("kind, text, call", REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_refused_with_the_users_line(kind: type[Exception], text: str, call: Callable[[], Any]) -> None:
    with pytest.raises(kind, match=text) as raised:
        call()
    assert isinstance(raised.value, gx.GraphcError) and raised.value.where is not None
    assert raised.value.where.file == __file__


def test_a_bodys_tensor_does_not_leave_it() -> None:
    kept: list[gx.Tensor] = []

    def step(c: gx.Tensor, x: gx.Tensor) -> Any:
        kept.append(c * 2)
        return c, None

    def f(xs: gx.Tensor) -> gx.Tensor:
        gx.scan(step, gx.zeros(3), xs)
        return xs + kept[0]

    with pytest.raises(gx.TraceError, match="only inside"):
        gx.compile(f)(XS)
    with pytest.raises(gx.TraceError, match="only inside"):
        gx.cond(np.True_, lambda: kept[0], lambda: kept[0])


def test_nothing_is_assigned_where_a_loop_raises() -> None:
    v = gx.Variable(0.0)

    def step(c: gx.Tensor, i: gx.Tensor) -> Any:
        v.assign(v + 1)
        return c + gx.take(XS[0], i), None

    with pytest.raises(IndexError, match=r"test_control\.py"):
        gx.scan(step, 0, np.array([0, 1, 7]))
    assert v.item() == 0


def test_loops_of_16_bit_floats_round_in_each_step() -> None:
    def f(x: gx.Tensor) -> Any:
        return gx.scan(lambda c, _: (c + x, c), x, length=4)

    last, ys = both(f, gx.asarray(0.1, dtype=gx.bfloat16))
    state, kept = gx.asarray(0.1, dtype=gx.bfloat16), []
    for _ in range(4):
        kept.append(state.item())
        state = state + gx.asarray(0.1, dtype=gx.bfloat16)
    assert last.item() == state.item() and ys.tolist() == kept


TABLE = np.arange(12.0, dtype=F).reshape(4, 3)
TOO_MUCH: dict[str, tuple[Callable[[], Any], str]] = {
    "steps beyond 64 bits": (lambda: gx.scan(lambda c, _: (c, None), 0.0, length=2**70), "64 bits"),
    "bounds beyond 64 bits": (lambda: gx.fori_loop(0, 2**64, lambda i, c: c, 0.0), "64 bits"),
    "max_steps beyond 64 bits": (
        lambda: gx.while_loop(lambda c: c < 9, lambda c: c + 1, 0.0, max_steps=2**63), "64 bits",
    ),
    "stacks beyond any memory": (lambda: gx.scan(lambda c, _: (c, c), 0.0, length=2**50), "2\\*\\*46 bytes"),
    "stacks in segments": (lambda: gx.scan(lambda c, _: (c, c), 0.0, length=2**50, remat=True), "2\\*\\*46 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", TOO_MUCH)
def test_more_than_there_can_be_is_told_at_the_loop(name: str) -> None:
    function, told = TOO_MUCH[name]
    for call in (function, gx.compile(function)):
        with pytest.raises(gx.ShapeError, match=told) as raised:
            call()
        assert raised.value.where is not None and raised.value.where.file == __file__


@pytest.mark.parametrize(
    "body, hint",
    [
        (lambda c, i: (c + TABLE[i], None), "gx.asarray"), (lambda c, i: (c + TABLE[i, 1:], None), "gx.asarray"),
        (lambda c, i: (TABLE[c > 1], None), "gx.where"),
        (lambda c, i: ((gx.print(c), c)[1], None), "gx.scan stacks as y"),
    ],
)  # fmt: skip
def test_what_bodies_cannot_do_names_what_does_it(body: Any, hint: str) -> None:
    with pytest.raises((gx.TraceError, gx.UnsupportedError), match=hint):
        gx.scan(body, np.zeros(3, F), np.arange(4))
