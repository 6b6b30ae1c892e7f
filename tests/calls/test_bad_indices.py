"""What a call does with indices outside of an array, and with divisions by 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import optim

X = np.arange(4, dtype=np.float32)


def test_an_index_out_of_range():
    f = gx.compile(lambda x, i: gx.take(x, i) * 2)
    assert f(X, np.array([0, 3, -1, -4])).tolist() == [0, 6, 6, 0]
    for bad in (4, -5, 1 << 40, -(1 << 62)):
        with pytest.raises(IndexError) as error:
            f(X, np.array([1, bad, 2]))
        assert isinstance(error.value, gx.GraphcIndexError)
        assert "gx.take(x, i) * 2" in str(error.value), "the user's line"
    assert f(X, np.array([2])).tolist() == [4]


def test_a_bad_index_far_from_the_end_of_a_large_array():
    table = np.zeros((1000, 64), np.float32)
    f = gx.compile(lambda x, i: gx.sum(gx.take(x, i, axis=0)))
    index = np.zeros(5000, np.int32)
    index[1234] = 1000
    with pytest.raises(IndexError, match="1000"):
        f(table, index)


@pytest.mark.parametrize(("columns", "dtype"), [(5, "float32"), (5, "int32"), (9, "int16"), (17, "int8")])
def test_gathered_columns_stored_twice(columns, dtype):
    """Tiles with missing rows, of which LLVM once made a shuffle that it could not select."""
    x = np.arange(64 * 40).reshape(64, 40).astype(dtype)

    @gx.compile
    def f(x: Any, i: Any) -> Any:
        y = gx.take(x, gx.pad(i, ((1, 1),)), axis=1)
        return y, y * 3 + y

    a, b = f(x, np.arange(columns - 2))
    wanted = x[:, np.pad(np.arange(columns - 2), 1)]
    assert (a.numpy() == wanted).all() and (b.numpy() == wanted * 3 + wanted).all()


def test_a_bad_index_in_prepared_work():
    table, index = gx.Variable(np.arange(400.0)), gx.Variable(np.array([1, 3]))
    f = gx.compile(lambda x: x + gx.sum(gx.take(table, index)))
    assert f(X)[0].item() == 4
    index.assign(np.array([1, -401]))
    for _ in range(2):
        with pytest.raises(IndexError, match=r"gx\.take\(table, index\)"):
            f(X)
    index.assign(np.array([1, 2]))
    assert f(X)[0].item() == 3


@pytest.mark.parametrize("size", [4, 1 << 18])
def test_a_bad_index_changes_no_variable(size):
    """Neither where the gather comes first, nor where nothing orders it and the update, nor where it comes last."""
    a, b, c = (gx.Variable(np.zeros(size, np.float32)) for _ in range(3))

    @gx.compile
    def step(x: Any, i: Any) -> Any:
        a.assign(a + 1)
        found = gx.take(x, i)
        b.assign(b + gx.sum(found))
        c.assign(a * 2)
        return found, gx.take(c.value, i)

    good, bad = np.array([1, 2]), np.array([1, size])
    x = np.ones(size, np.float32)
    step(x, good)
    for _ in range(3):
        with pytest.raises(IndexError):
            step(x, bad)
        assert [v.numpy()[0] for v in (a, b, c)] == [1, 2, 2]
    step(x, good)
    assert [v.numpy()[-1] for v in (a, b, c)] == [2, 4, 4]


def test_a_bad_index_in_a_scatter_changes_nothing():
    table = gx.Variable(np.zeros((50, 8), np.float32))
    optimizer = optim.SGD([table], lr=1.0)

    @gx.compile
    def step(i: Any) -> Any:
        loss = gx.sum(gx.take(table, i, axis=0))
        optimizer.minimize(loss)
        return loss

    step(np.array([3, 3, 7]))
    expected = table.numpy().copy()
    assert expected[3, 0] == -2 and expected[7, 0] == -1
    with pytest.raises(IndexError):
        step(np.array([3, 50, 7]))
    np.testing.assert_array_equal(table.numpy(), expected)


def test_integer_division_by_zero():
    a = np.array([7, -7, 0, -(1 << 31), 5], np.int32)
    b = np.array([0, 0, 0, -1, 2], np.int32)
    quotient, remainder = gx.compile(lambda a, b: (a // b, a % b))(a, b)
    assert quotient.tolist() == [0, 0, 0, -(1 << 31), 2]
    assert remainder.tolist() == [0, 0, 0, 0, 1]
    assert gx.compile(lambda a: a // 0)(a).tolist() == [0] * 5
    for dtype in (np.uint8, np.int64, np.int8):
        zero = np.zeros(40, dtype)
        assert gx.compile(lambda a, b: a // b)(zero + 3, zero).tolist() == [0] * 40


def test_a_deep_chain():
    """Hundreds of functions in a row, in one kernel: nothing on the way recurses along them."""

    @gx.compile
    def f(x: Any) -> Any:
        for _ in range(350):
            x = -x + 1
        return gx.sum(x * x)

    assert f(X).item() == 14 and gx.grad(f)(X).tolist() == [0, 2, 4, 6]
