"""Gradients through loops and choices are those of the same steps written out, of all orders and in both modes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import ops
from graphc.frontend import pytree
from graphc.ir import Graph, everywhere, sub_graphs
from graphc.passes.pipeline import optimize
from graphc.settings import Check, Settings
from graphc.verify import verify

RNG = np.random.default_rng(0)
XS = RNG.normal(size=(5, 3))
W = RNG.normal(size=(3, 3)) / 2
H = RNG.normal(size=3)


@pytest.fixture(autouse=True, params=["reference", "llvm"])
def _backend(request: Any) -> Any:
    with gx.using(backend=request.param):
        yield


def same(found: Any, wanted: Any, rtol: float = 1e-9) -> None:
    pairs = zip(pytree.leaves(found), pytree.leaves(wanted), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=rtol, atol=1e-11)


def unrolled(body: Any, init: Any, xs: Any = None, *, length: int | None = None, reverse: bool = False) -> Any:
    """What gx.scan means, as a Python loop."""
    leaves = pytree.leaves(xs)
    count = leaves[0].shape[0] if leaves else length or 0
    rows = range(count)[::-1] if reverse else range(count)
    carry, ys = init, {}
    for i in rows:
        carry, ys[i] = body(carry, pytree.unflatten(xs, [x[i] for x in leaves]) if leaves else None)
    found = [[gx.asarray(y) for y in pytree.leaves(ys[i])] for i in range(count)]
    return carry, pytree.unflatten(ys[0], [gx.stack(column) for column in zip(*found, strict=True)])


def tanh_step(w: gx.Tensor) -> Any:
    def step(h: gx.Tensor, x: gx.Tensor) -> Any:
        h = gx.tanh(h @ w + x)
        return h, gx.sum(h * x)

    return step


def recurrent(scan: Any, w: Any, h: Any, xs: Any) -> gx.Tensor:
    last, ys = scan(tanh_step(w), h, xs)
    return gx.sum(last * last) + gx.sum(ys * np.arange(1.0, 6))


def in_reverse(scan: Any, w: Any, h: Any, xs: Any) -> gx.Tensor:
    last, ys = scan(tanh_step(w), h, xs, reverse=True)
    return gx.sum(last * last) + gx.sum(ys * np.arange(1.0, 6))


def ys_only(scan: Any, w: Any, h: Any, xs: Any) -> gx.Tensor:
    return gx.sum(scan(lambda c, x: (c, gx.sin(x @ w) * h), None, xs)[1] ** 2)


def with_counter(scan: Any, w: Any, h: Any, xs: Any) -> gx.Tensor:
    """An integer carry, a leaf that is not used, one that does not change, and one that only starts."""

    def step(carry: Any, x: Any) -> Any:
        i, used, unused, constant, forgotten = carry
        used = used * constant + x * gx.astype(i, gx.float64)
        return (i + 1, used, unused + x, constant, gx.exp(x)), used

    (_, used, _, _, _), ys = scan(step, (0, h, h, w[0], h), xs)
    return gx.sum(used * ys[2])


def coupled(scan: Any, w: Any, h: Any, xs: Any) -> gx.Tensor:
    """Carries that reach the loss only by way of one another."""

    def step(carry: Any, x: Any) -> Any:
        a, b, c = carry
        return (a + b, b * c, c + x), None

    (a, _, _), _ = scan(step, (h, w[0], w[1]), xs)
    return gx.sum(a)


def bilinear(scan: Any, w: Any, h: Any, xs: Any) -> gx.Tensor:
    """Batched products on either side, of which some sums are better carried and some are better stacked."""

    def step(s: gx.Tensor, x: gx.Tensor) -> Any:
        s = gx.sin(w @ s) @ w + x
        return s, (s.T @ w)[0] * h

    s, ys = scan(step, w * 0.5, xs)
    return gx.sum(s) + gx.sum(ys**2)


def with_bias(scan: Any, w: Any, h: Any, xs: Any) -> gx.Tensor:
    """What is summed for the bias is stacked for the weight."""
    def step(s: gx.Tensor, x: gx.Tensor) -> Any:
        return gx.tanh(s @ w + h + x), None

    return gx.sum(scan(step, w * 0.5, xs)[0] ** 2)


def nested(scan: Any, w: Any, h: Any, xs: Any) -> gx.Tensor:
    def outer(c: gx.Tensor, x: gx.Tensor) -> Any:
        d, ys = scan(lambda d, s: (gx.sin(d * s + c @ w), d), c, x)
        return d, gx.sum(ys)

    c, ys = scan(outer, h, xs)
    return gx.sum(c) + gx.sum(ys**2)


def with_cond(scan: Any, w: Any, h: Any, xs: Any) -> gx.Tensor:
    def step(c: gx.Tensor, x: gx.Tensor) -> Any:
        c = gx.cond(gx.sum(c) > 0, lambda a: a * a * x, lambda a: gx.sin(a @ w) + 1.5, c)
        return c, gx.switch(gx.astype(gx.abs(c[0]) * 3, gx.int32), [gx.sin, gx.exp, lambda v: v * h, lambda v: v], c)

    c, ys = scan(step, h, xs)
    return gx.sum(c) + gx.sum(ys)


def in_a_cond(scan: Any, w: Any, h: Any, xs: Any) -> gx.Tensor:
    """A scan in a cond in a scan."""

    def inner(c: gx.Tensor, x: gx.Tensor) -> Any:
        return scan(lambda d, s: (gx.sin(d * s + c @ w), d), c, x)[0]

    def step(c: gx.Tensor, x: gx.Tensor) -> Any:
        return gx.cond(gx.sum(c) > 0.2, lambda: inner(c, x), lambda: gx.exp(c) * x), None

    return gx.sum(scan(step, h, xs)[0])


LOSSES = [recurrent, in_reverse, ys_only, with_counter, coupled, bilinear, with_bias, nested, with_cond, in_a_cond]


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_the_steps(loss: Callable[..., gx.Tensor]) -> None:
    found = gx.value_and_grad(lambda *a: loss(gx.scan, *a), (0, 1, 2))(W, H, XS)
    same(found, gx.value_and_grad(lambda *a: loss(unrolled, *a), (0, 1, 2))(W, H, XS))


@pytest.mark.parametrize("loss", LOSSES)
def test_second_gradients_and_forward_mode(loss: Callable[..., gx.Tensor]) -> None:
    def squared(scan: Any) -> Any:
        def norm(*args: Any) -> gx.Tensor:
            return gx.sum(gx.stack([gx.sum(g**2) for g in gx.grad(lambda *a: loss(scan, *a), (0, 1, 2))(*args)]))

        return gx.grad(norm, (0, 1, 2))

    same(squared(gx.scan)(W, H, XS), squared(unrolled)(W, H, XS), rtol=1e-8)
    directions = (W * 2, H + 1, np.sin(XS))
    found = [gx.jvp(lambda *a, s=s: loss(s, *a), (W, H, XS), directions) for s in (gx.scan, unrolled)]
    same(found[0], found[1])


@pytest.mark.parametrize("loss", LOSSES)
def test_optimized_graphs_of_gradients_run_each_loop_once_each_way(loss: Callable[..., gx.Tensor]) -> None:
    def both(*args: Any) -> Any:
        return gx.value_and_grad(lambda *a: loss(gx.scan, *a), (0, 1, 2))(*args)

    graph = gx.trace(both, W, H, XS)
    verify(graph)
    optimized = optimize(graph, Settings(check=Check.ALL))
    count = 4 if loss in (nested, in_a_cond) else 2
    assert len([n for n in everywhere(optimized) if n.op is ops.scan]) == count
    same(gx.compile(both)(W, H, XS), both(W, H, XS))


def test_what_consts_get_is_summed_after_the_loop() -> None:
    graph = gx.trace(lambda *a: gx.grad(lambda w, h: with_bias(gx.scan, w, h, a[2]), (0, 1))(a[0], a[1]), W, H, XS)
    back = [n for n in optimize(graph, Settings()).nodes if n.op is ops.scan][-1]
    assert back.attrs["carries"] == 1 and not any(n.op is ops.sum for n in back.attrs["body"].nodes)


def test_squares_in_a_cond_in_a_scan_of_two_steps() -> None:
    """By hand: x ↦ x² if x > 1, else 3x. From 2: 4, 16, x⁴; from 0.5: 1.5, 2.25, 9x²; from 0.25: 0.75, 2.25, 9x."""

    def f(x: gx.Tensor) -> gx.Tensor:
        return gx.scan(lambda c, _: (gx.cond(c > 1, lambda: c * c, lambda: c * 3), None), x, length=2)[0]

    for x, y, first, second in ((2.0, 16, 32, 48), (0.5, 2.25, 9, 18), (0.25, 2.25, 9, 0)):
        value, slope = gx.value_and_grad(f)(x)
        assert (value.item(), slope.item()) == (y, first)
        assert gx.grad(gx.grad(f))(x).item() == second


@pytest.mark.parametrize("length", [0, 1])
def test_short_scans(length: int) -> None:
    def f(h: Any, w: Any, xs: Any) -> gx.Tensor:
        last, ys = gx.scan(tanh_step(w), h, xs)
        return gx.sum(last**2) + gx.sum(ys)

    dh, dw, dxs = gx.grad(f, (0, 1, 2))(H, W, XS[:length])
    if length:

        def once(h: Any, w: Any, xs: Any) -> gx.Tensor:
            h = gx.tanh(h @ w + xs[0])
            return gx.sum(h**2 + h * xs[0])

        same((dh, dw, dxs), gx.grad(once, (0, 1, 2))(H, W, XS[:1]))
    else:
        same((dh, dw, dxs), (2 * H, W * 0, np.zeros((0, 3))))


def test_a_leaf_that_the_loss_does_not_use_has_a_gradient_of_zeros() -> None:
    def f(a: Any, b: Any) -> gx.Tensor:
        (a, b), _ = gx.scan(lambda c, x: ((c[0] * 2, c[1] + x), None), (a, b), XS)
        return gx.sum(a)

    same(gx.grad(f, (0, 1))(H, H), (np.full(3, 32.0), np.zeros(3)))


# Memory


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("remat", [True, 1, 2, 4, 5, 9])
def test_scans_in_segments_give_the_same(remat: bool | int, reverse: bool) -> None:
    def loss(remat: bool | int, w: Any, h: Any, xs: Any) -> gx.Tensor:
        last, ys = gx.scan(tanh_step(w), h, xs, reverse=reverse, remat=remat)
        return gx.sum(last * last) + gx.sum(ys * np.arange(1.0, 6))

    both = [gx.value_and_grad(partial(loss, r), (0, 1, 2)) for r in (remat, False)]
    same(both[0](W, H, XS), both[1](W, H, XS))
    twice = [gx.grad(lambda w, r=r: gx.sum(gx.grad(partial(loss, r))(w, H, XS) ** 2)) for r in (remat, False)]
    same(twice[0](W), twice[1](W))


def peak(graph: Graph) -> int:
    """Bytes of what loops stack, at most: those of one body are there while the stacks around it are."""
    stacks = [t.nbytes for n in graph.nodes if n.op is ops.scan for t in n.type.items]  # type: ignore[union-attr]
    inner = (peak(body) for n in graph.nodes for body in sub_graphs(n).values())
    return sum(stacks) + max(inner, default=0)


def test_memory_grows_with_the_square_root_of_the_length() -> None:
    def step(h: gx.Tensor, x: gx.Tensor) -> Any:
        return gx.tanh(h + x), None

    def bytes_for(length: int, remat: bool) -> int:
        def loss(h: Any) -> gx.Tensor:
            return gx.sum(gx.fori_loop(0, 1, lambda i, c: gx.scan(step, c, gx.zeros(length), remat=remat)[0], h))

        return peak(optimize(gx.trace(gx.grad(loss), np.zeros(100)), Settings()))

    assert bytes_for(6400, False) > 3.9 * bytes_for(1600, False)
    assert bytes_for(6400, True) < 2.1 * bytes_for(1600, True) < bytes_for(1600, False) / 8


def test_a_checkpoint_keeps_its_arguments_and_gives_the_same() -> None:
    w = gx.Variable(W)

    def block(x: Any) -> Any:
        y = gx.sin(gx.exp(x @ w))
        return {"y": y * gx.random.uniform((3,), dtype="float64")}

    def loss(x: Any, around: Any) -> gx.Tensor:
        return gx.sum(around(around(x)["y"])["y"] ** 2)

    found = []
    for around in (block, gx.checkpoint(block)):
        gx.random.seed(3)
        compiled = gx.compile(lambda x, f=around: gx.gradients(loss(x, f), [x, w]))
        found.append([*compiled(H), *compiled(H)])
        assert gx.random.get_state().tolist()[2] == 4
    same(found[0], found[1])
    graph = gx.trace(gx.grad(partial(loss, around=gx.checkpoint(block))), H)
    verify(graph)
    counts = [sum(n.op is ops.exp for n in optimize(g, Settings(check=Check.ALL)).nodes)
              for g in (graph, gx.trace(gx.grad(partial(loss, around=block)), H))]  # fmt: skip
    assert counts == [4, 2]
    assert gx.checkpoint(lambda x: x * 2)(XS).tolist() == (XS * 2).tolist()
    with pytest.raises(gx.TraceError, match="takes a function"):
        gx.checkpoint(XS)  # type: ignore[type-var]
    with pytest.raises(gx.ShapeError, match="remat"):
        gx.scan(tanh_step(gx.asarray(W)), H, XS, remat=0)


# while_loop


def power(x: Any, limit: Any, max_steps: int | None = None) -> gx.Tensor:
    """x squared again and again until it is beyond the limit, with the sum of all that came."""
    found = gx.while_loop(lambda c: c[0] < limit, lambda c: (c[0] * c[0], c[1] + c[0] * x, c[2] + 1), (x, 0.0, 0),
                          max_steps=max_steps)  # fmt: skip
    return found[0] + found[1]


def power_unrolled(x: Any, steps: int) -> gx.Tensor:
    a, b = x, 0.0
    for _ in range(steps):
        a, b = a * a, b + a * x
    return a + b


@pytest.mark.parametrize("start, steps", [(1.1, 5), (1.5, 3), (9.0, 0)])
def test_while_loops_with_room(start: float, steps: int) -> None:
    f, g = partial(power, limit=9, max_steps=6), partial(power_unrolled, steps=steps)
    for _ in range(3):
        same(f(np.float64(start)), g(np.float64(start)))
        f, g = gx.grad(f), gx.grad(g)  # type: ignore[assignment]
    same(gx.jvp(lambda x: power(x, 9, 6), (np.float64(start),), (np.float64(2),)),
         gx.jvp(lambda x: power_unrolled(x, steps), (np.float64(start),), (np.float64(2),)))  # fmt: skip


def test_a_while_loop_that_is_cut_off() -> None:
    same(gx.grad(lambda x: power(x, 9, 2))(np.float64(1.1)), gx.grad(lambda x: power_unrolled(x, 2))(np.float64(1.1)))


def test_only_the_steps_that_there_were_are_gone_back() -> None:
    """Rows that no step has written are 0, and 1 / 0 would show."""

    def f(x: Any) -> gx.Tensor:
        return gx.while_loop(lambda c: c < 9, lambda c: c + gx.log(c) / c, x, max_steps=100)

    assert np.isfinite(gx.grad(f)(np.float64(8)).item())
    (back,) = [n for n in gx.trace(gx.grad(f), np.float64(8)).nodes if n.op is ops.scan]
    assert back.attrs["counted"]


def test_a_while_loop_without_a_limit_says_what_to_do() -> None:
    with pytest.raises(gx.UnsupportedError, match="only with max_steps") as raised:
        gx.grad(lambda x: power(x, 9))(1.5)
    assert raised.value.where is not None and raised.value.where.file == __file__
    # Off the path from what is differentiated by it is no obstacle.
    assert gx.grad(lambda x: x * gx.while_loop(lambda c: c < 9, lambda c: c * 2, 1.0))(1.5).item() == 16
    assert gx.grad(lambda x: x * power(gx.stop_gradient(x), 9))(2.0).item() == power(2.0, 9).item()

    def in_a_scan(x: Any) -> gx.Tensor:
        def step(c: Any, i: Any) -> Any:
            return c * gx.astype(gx.while_loop(lambda k: k < 3 * i, lambda k: k + 2, i), gx.float64), None

        return gx.scan(step, x, np.array([1, 2]))[0]

    assert gx.grad(in_a_scan)(np.float64(2)).item() == 3 * 6


def test_fori_loops() -> None:
    def f(x: Any, n: Any, most: int | None = None) -> gx.Tensor:
        return gx.fori_loop(1, n, lambda i, c: c * x + gx.astype(i, gx.float64), x, max_steps=most)

    wanted = gx.grad(lambda x: ((x * x + 1) * x + 2) * x + 3)(np.float64(1.5))
    same(gx.grad(f)(np.float64(1.5), 4), wanted)
    same(gx.grad(lambda x, n: f(x, n, 7))(np.float64(1.5), np.int64(4)), wanted)


# Variables, dtypes


def test_gradients_for_variables_that_bodies_read() -> None:
    w, h = gx.Variable(W), gx.Variable(H)

    def loss(scan: Any) -> gx.Tensor:
        last, ys = scan(lambda c, x: (gx.tanh(c @ w + x), gx.sum(c * h)), h.value, XS)
        return gx.sum(last) + gx.sum(ys)

    found = [gx.compile(lambda s=s: gx.gradients(loss(s), [w, h]))() for s in (gx.scan, unrolled)]
    same(found[0], found[1])


def test_no_gradient_flows_through_what_steps_assign() -> None:
    """As in steps that are calls of their own."""
    v = gx.Variable(1.0, trainable=False)

    def loss(x: Any) -> gx.Tensor:
        def step(c: Any, _: Any) -> Any:
            v.assign(v * 2 + x)
            return c + v * x, None

        return gx.scan(step, 0.0, length=2)[0]

    found = gx.compile(lambda x: (lambda y: (y, gx.gradients(y, x)))(loss(x)))(np.float32(3))
    assert [t.item() for t in found] == [(5 + 13) * 3, 5 + 13] and v.item() == 13


def test_sums_of_16_bit_floats_are_kept_in_float32() -> None:
    w = gx.ones((), dtype=gx.bfloat16)
    xs = gx.ones((1000,), dtype=gx.bfloat16)
    assert gx.grad(lambda w: gx.sum(gx.scan(lambda c, x: (c, x * w), None, xs)[1]))(w).item() == 1000
    assert gx.grad(lambda w: gx.scan(lambda c, x: (x * w, None), w, xs)[0])(w).item() == 1


def test_no_gradient_through_integers() -> None:
    def f(x: Any) -> gx.Tensor:
        (n, y), _ = gx.scan(lambda c, _: ((c[0] + 1, c[1] * x), None), (0, x), length=3)
        return y * gx.astype(n, gx.float64)

    assert gx.grad(f)(np.float64(2)).item() == 4 * 8 * 3
