"""x[...] against NumPy's: a table of the cases that are easily got wrong, and random indices of all kinds."""

import math
import random
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import DTypeError, ShapeError

X = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
I = np.array([2, 0, -1])
J = np.array([[0], [1]])

KEYS: list[Any] = [
    0, -1, (1, 2), (1, -1, 0, 0), slice(None), slice(1, None), slice(None, None, 2), slice(None, None, -1),
    (slice(None), slice(2, 0, -1)), (slice(None), slice(5, None)), (slice(None), slice(2, 1)), ..., (..., 0),
    (0, ..., slice(1, 3)), None, (None, 0), (slice(None), None, 1), (..., None), (slice(-100, 100, 3), ...),
    (slice(None), slice(None, None, -2), None, ..., slice(4, None, -3)), (np.int64(1),), [1, 0], (slice(None), I),
    (slice(None), I, slice(1, 3)), (slice(None), I, I), (I % 2, slice(None), I), (0, I), (0, slice(None), I),
    (slice(None), 1, slice(None), I), (J, I), (slice(None), J, I), (..., I), (slice(None), None, I), (I % 2, None, I),
    (I % 2, ..., I, 0), (slice(None, None, -1), I, slice(None, None, 2)), (slice(None), np.array(1)),
    (slice(None), np.array([1, 2], np.uint8)), np.zeros((0,), np.int64),
    (0, 1, ..., 2, I), (0, slice(None), I, ..., I), (0, I, slice(None), ..., I), (0, ..., 1, I, I), (0, 1, I, I, ...),
    (0, ..., slice(None), I, I), (I % 2, ..., I, I, 0), (I % 2, I, I, I, ...), (I % 2, I, ..., I, I),
    (..., I % 2, I, I, I), True, False, (True, ..., I), (0, True, I), (I, True)[1:], (True, None, False),
    (slice(None), True, slice(None), I),
    X > 30, X < 0, [True, False], (slice(None), [True, False, True]), (X[:, :, 0, 0] > 20, 1), (0, X[0] > 30),
    (slice(None), X[0, :, :, 0] > 40, I), (I[:1] % 2, X[0, :, :, 0] > 900, 0), ([False, True], slice(None), I, ...),
    (0, ..., X[0, 0, 0] > 1), ([True, False], ..., [True, True, False], 0, 0), np.bool_(True),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=[str(k).replace("\n", "") for k in KEYS])
def test_against_numpy(key: Any) -> None:
    expected = X[key]
    for got in (gx.asarray(X)[key], gx.compile(lambda x: x[key])(X)):
        np.testing.assert_array_equal(got.numpy(), expected)
        assert got.shape == expected.shape


class _Random:
    """Random indices into an array of this shape, as NumPy takes them."""

    def __init__(self, seed: int) -> None:
        self.pick = random.Random(seed)
        self.shape = tuple(self.pick.choice((0, 1, 2, 3, 4)) for _ in range(self.pick.randint(0, 4)))
        self.broadcast = tuple(self.pick.choice((1, 2, 3)) for _ in range(self.pick.randint(0, 2)))

    def key(self) -> tuple[Any, ...]:
        items, axis = [], 0
        while axis < len(self.shape) and self.pick.random() < 0.9:
            item, taken = self._item(axis)
            items.append(item)
            axis += taken
        while self.pick.random() < 0.3:
            items.insert(self.pick.randint(0, len(items)), self.pick.choice((None, None, True)))
        if self.pick.random() < 0.5:
            left = self.pick.randint(0, len(items))
            if not any(isinstance(i, np.ndarray) and i.dtype == bool for i in items[left:]) or axis == len(self.shape):
                items.insert(left, ...)
        return tuple(items)

    def _item(self, axis: int) -> tuple[Any, int]:
        size, pick = self.shape[axis], self.pick
        kind = pick.randint(0, 4)
        if kind == 0 and size:
            return pick.randint(-size, size - 1), 1
        if kind == 1:
            start, stop = (pick.choice((None, pick.randint(-6, 6))) for _ in range(2))
            return slice(start, stop, pick.choice((None, 1, 2, 3, -1, -2))), 1
        if kind == 2 and size:
            places = [pick.randint(-size, size - 1) for _ in range(math.prod(self.broadcast))]
            return np.array(places, np.int64).reshape(self.broadcast), 1
        if kind == 3:
            rank = pick.randint(1, min(2, len(self.shape) - axis))
            return np.array([pick.random() < 0.5 for _ in range(math.prod(self.shape[axis : axis + rank]))],
                            bool).reshape(self.shape[axis : axis + rank]), rank  # fmt: skip
        return slice(None), 1


@pytest.mark.parametrize("seed", range(150))
def test_random_keys_against_numpy(seed: int) -> None:
    made = _Random(seed)
    x = np.arange(math.prod(made.shape), dtype=np.int32).reshape(made.shape)
    key = made.key()
    try:
        expected = x[key]
    except IndexError:  # arrays of positions that do not broadcast
        with pytest.raises((IndexError, ShapeError)), gx.using(backend="reference"):
            gx.asarray(x)[key]
        return
    with gx.using(backend="reference"):
        for got in (gx.asarray(x)[key], gx.compile(lambda x: x[key])(x)):
            assert got.shape == expected.shape
            np.testing.assert_array_equal(got.numpy(), expected)


def test_masks_of_all_kinds() -> None:
    mask, x = X[:, :, 0, 0] > 20, gx.asarray(X)
    for same in (mask, gx.asarray(mask), gx.Variable(mask), mask.tolist(), np.asfortranarray(mask)):
        np.testing.assert_array_equal(x[same].numpy(), X[mask])
    gradient = gx.grad(lambda x: gx.sum(x[mask]))(X)
    np.testing.assert_array_equal(gradient.numpy(), np.broadcast_to(mask[..., None, None], X.shape))


@pytest.mark.parametrize("key", [np.ones(3, bool), (0, np.ones((3, 2), bool)), [True, True, False]])
def test_masks_of_other_sizes(key: Any) -> None:
    with pytest.raises(IndexError, match="mask is as large"):
        gx.asarray(X)[key]


def test_symbolic_positions() -> None:
    f = gx.compile(lambda x, i: x[:, i])
    np.testing.assert_array_equal(f(X, I).numpy(), X[:, I])
    np.testing.assert_array_equal(f(X, np.int32(-2)).numpy(), X[:, -2])


def test_positions_outside_raise_at_run_time() -> None:
    with pytest.raises(IndexError):
        gx.asarray(X)[np.array([2])]
    with pytest.raises(IndexError):
        gx.asarray(X)[np.array([-3])]


def test_narrow_positions_into_long_axes() -> None:
    x = np.arange(300)
    assert gx.asarray(x)[np.array([-1, 5], np.int8)].tolist() == [299, 5]


@pytest.mark.parametrize("key", [2, -3, (0, 3), (0, slice(None), I, 5)])
def test_index_errors(key: Any) -> None:
    with pytest.raises(IndexError, match="outside of axis"):
        gx.asarray(X)[key]


def test_empty_lists_are_no_positions() -> None:
    assert gx.asarray(X)[[]].shape == (0, *X.shape[1:])
    assert gx.take(X, [], axis=1).shape == (X.shape[0], 0, *X.shape[2:])


@pytest.mark.parametrize("key", [(0, 0, 0, 0, 0), (..., ...), np.zeros((2, 3, 4, 5, 1), bool)])
def test_too_many_indices_are_shape_and_index_errors(key: Any) -> None:
    for kind in (ShapeError, IndexError):
        with pytest.raises(kind):
            gx.asarray(X)[key]


def test_axes_that_there_are_not_are_shape_and_index_errors() -> None:
    for kind in (ShapeError, IndexError, ValueError):
        with pytest.raises(kind):
            gx.sum(X, axis=4)
        with pytest.raises(kind):
            gx.expand_dims(X, axis=5)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0), (0, 0), (2, 3, 4, 0)])
def test_masks_of_nothing_select_nothing(shape: tuple[int, ...]) -> None:
    mask = np.zeros(shape, bool)
    assert gx.asarray(X)[mask].shape == gx.compile(lambda x: x[mask])(X).shape == X[mask].shape


@pytest.mark.parametrize("key", ["a", 1.5, np.array([1.0]), [1.5], 1j, {}])
def test_keys_that_are_none(key: Any) -> None:
    with pytest.raises(DTypeError):
        gx.asarray(X)[key]


def test_symbolic_masks_name_the_alternative() -> None:
    state = gx.Variable(X > 3)
    with pytest.raises(DTypeError, match=r"gx\.where"):
        gx.trace(lambda x: x[state], X)
    for key in (lambda x: x > 3, lambda x: (0, x[0] > 3), lambda x: x[0, 0, 0, 0] > 3):
        with pytest.raises(DTypeError, match=r"gx\.where"):
            gx.trace(lambda x, key=key: x[key(x)], X)
