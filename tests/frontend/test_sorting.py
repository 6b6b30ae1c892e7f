"""`sort`, `argsort`, `top_k`, `searchsorted`: NumPy's results, at once and compiled."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.passes.pipeline import optimize
from graphc.passes.schedule import schedule
from graphc.schedule import CallStep
from graphc.settings import Settings

F = np.float32
X = np.random.default_rng(0).integers(-9, 9, (4, 5, 6)).astype(F)


@pytest.fixture(params=["at once", "compiled"])
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def compiled(function: Callable[..., Any], *args: Any) -> Any:
        return gx.compile(function)(*args)

    return compiled if request.param == "compiled" else lambda function, *args: function(*args)


@pytest.mark.parametrize("axis", [-1, 0, 1, 2, -3])
def test_axes(run: Callable[..., Any], axis: int) -> None:
    assert (run(lambda x: gx.sort(x, axis=axis), X).numpy() == np.sort(X, axis)).all()
    order = run(lambda x: gx.argsort(x, axis=axis), X)
    assert order.dtype is gx.int64 and (order.numpy() == np.argsort(X, axis, kind="stable")).all()
    down = run(lambda x: gx.argsort(x, axis=axis, descending=True, stable=False), X)
    assert (down.numpy() == np.argsort(-X, axis, kind="stable")).all()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "bool"])
@pytest.mark.parametrize("descending", [False, True])
def test_sorted_at_once_as_compiled(dtype: str, descending: bool) -> None:
    x = np.random.default_rng(1).integers(-3, 3, (5, 900)).astype(dtype)
    signed = np.where(x == 0, np.resize(np.array([0, -0.0], F), x.shape), x).astype(dtype)
    for y in (x, signed):
        for axis in (0, 1):
            compiled = gx.compile(lambda x, axis=axis: gx.sort(x, axis=axis, descending=descending))
            at_once = gx.sort(y, axis=axis, descending=descending)
            assert compiled(y).numpy().tobytes() == at_once.numpy().tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("shape", [(3, 5003), (20, 1001), (150_001,)])
@pytest.mark.parametrize("descending", [False, True])
def test_values_alone_keep_the_signs_of_zeros_and_the_bits_of_nan(dtype: str, shape: Any, descending: bool) -> None:
    """As if looked up, also where rows are cut into chunks, and where only some of the zeros are among the results."""
    rng = np.random.default_rng(0)
    x = rng.choice(np.array([0, -0.0, 1, -1, np.nan, -np.nan, np.inf, 3.5]), shape)
    few = np.where(rng.random(shape) < 1e-4, -0.0, 1 + rng.random(shape))
    for y in (np.asarray(a).astype(gx.types.DTYPES[dtype].numpy) for a in (x, few, np.abs(few))):
        compiled = gx.compile(lambda y: gx.sort(y, descending=descending))
        assert compiled(y).numpy().tobytes() == gx.sort(y, descending=descending).numpy().tobytes()
        if descending:
            top = gx.compile(lambda y: gx.top_k(y, y.shape[-1] // 2)[0])
            assert top(y).numpy().tobytes() == gx.top_k(y, y.shape[-1] // 2)[0].numpy().tobytes()


def test_top_k(run: Callable[..., Any]) -> None:
    values, indices = run(lambda x: gx.top_k(x, 3), X)
    order = np.argsort(-X, -1, kind="stable")[..., :3]
    assert (indices.numpy() == order).all() and (values.numpy() == np.take_along_axis(X, order, -1)).all()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "uint8", "bool"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 100])
def test_searchsorted(run: Callable[..., Any], side: Any, dtype: str, size: int) -> None:
    rng = np.random.default_rng(size)
    table = np.sort(rng.integers(0, 20, size)).astype(dtype)
    values = rng.integers(0, 22, (3, 13)).astype(dtype)
    if dtype.startswith("float"):
        table = np.sort(np.where(rng.random(size) < 0.2, np.nan, table)).astype(dtype)
        values[0, :4] = np.nan, -np.inf, np.inf, -0.0
    found = run(lambda a, b: gx.searchsorted(a, b, side=side), table, values)
    assert found.dtype is gx.int64 and (found.numpy() == np.searchsorted(table, values, side)).all()


def test_searchsorted_of_what_is_not_in_order(run: Callable[..., Any]) -> None:
    x = np.array([3, 1, 2], F)
    assert run(lambda x: gx.searchsorted(x, 2.5, sorter=gx.argsort(x)), x).item() == 2


def test_gradients(run: Callable[..., Any]) -> None:
    weights = np.arange(20, dtype=F).reshape(4, 5, 1)
    got = run(gx.grad(lambda x: gx.sum(gx.sort(x, axis=1) * weights)), X)
    want = np.empty_like(X)
    np.put_along_axis(want, np.argsort(X, 1, kind="stable"), np.broadcast_to(weights, X.shape), 1)
    assert (got.numpy() == want).all()
    got = run(gx.grad(lambda x: gx.sum(gx.top_k(x, 2)[0] ** 2)), np.array([[1, 4, 3.0, 2]], F))
    assert got.tolist() == [[0, 8, 6, 0]]


REFUSED: list[tuple[type[Exception], str, Callable[[], Any]]] = [
    (gx.ShapeError, "0 ≤ k ≤", lambda: gx.top_k(X, 7)),
    (gx.ShapeError, "whole number", lambda: gx.top_k(X, 1.5)),  # type: ignore[arg-type]
    (gx.ShapeError, "one dimension", lambda: gx.searchsorted(X, 1.0)),
    (gx.ArgumentError, "side='left'", lambda: gx.searchsorted(X[0, 0], 1.0, side="middle")),
    (gx.AxisError, "rank 0", lambda: gx.sort(np.float32(1))),
    (gx.AxisError, "rank 3", lambda: gx.argsort(X, axis=3)),
]


@pytest.mark.parametrize("kind, text, call", REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_refused_with_the_users_line(kind: type[Exception], text: str, call: Callable[[], Any]) -> None:
    with pytest.raises(kind, match=text) as error:
        call()
    assert "test_sorting.py" in str(error.value)


def test_one_sort_for_both(golden: Callable[[str, str], None]) -> None:
    def both(x: Any) -> Any:
        return gx.sort(x * 2, axis=1), gx.argsort(x * 2, axis=1)

    planned = schedule(optimize(gx.trace(both, X), Settings()))
    assert sum(isinstance(s, CallStep) for s in planned.steps) == 1
    golden("passes/sort.txt", re.sub(r"\.py:\d+", ".py", f"{planned}\n"))


def test_in_a_loop_and_of_a_constant() -> None:
    v = gx.Variable(np.array([5, 3, 4], F))

    @gx.compile
    def f(xs: Any) -> Any:
        last, tops = gx.scan(lambda c, x: (gx.sort(c + x), gx.top_k(x, 1)[0]), gx.sort(v), xs)
        return last, tops

    xs = np.array([[1, 5, 2], [0, 1, -9]], F)
    state = np.sort(v.numpy())
    for x in xs:
        state = np.sort(state + x)
    for _ in range(2):
        last, tops = f(xs)
        assert last.tolist() == state.tolist() and tops.tolist() == [[5], [1]]


def test_in_a_package(tmp_path: Path) -> None:
    path = tmp_path / "sorts.gxp"
    x = np.random.default_rng(3).standard_normal((3, 2000)).astype(F)
    fn = gx.compile(lambda x: (gx.sort(x * 2), *gx.top_k(x, 4)), inputs=[gx.spec((3, 2000))])
    want = fn(x)
    gx.build(path, {"sorts": fn})
    for got, value in zip(gx.load(path)["sorts"](x), want, strict=True):
        assert (np.asarray(got) == value.numpy()).all()


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_do_not_matter(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphc.backends.llvm.run import team

    monkeypatch.setattr(team, "usable_threads", lambda: 4)
    rng = np.random.default_rng(0)
    for shape in [(100, 700), (1, 150_000), (3, 70_000)]:
        x = rng.integers(0, 1000, shape).astype(F)
        with gx.using(threads=threads, backend="llvm"):
            values, order = gx.compile(lambda x: (gx.sort(x), gx.argsort(x)))(x)
            top = gx.compile(lambda x: gx.top_k(x, 9)[1])(x)
        want = np.argsort(x, -1, kind="stable")
        assert (order.numpy() == want).all() and (values.numpy() == np.sort(x)).all()
        assert (top.numpy() == np.argsort(-x, -1, kind="stable")[:, :9]).all()
