"""x[...] against NumPy's."""

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
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=[str(k).replace("\n", "") for k in KEYS])
def test_against_numpy(key: Any) -> None:
    expected = X[key]
    for got in (gx.asarray(X)[key], gx.compile(lambda x: x[key])(X)):
        np.testing.assert_array_equal(got.numpy(), expected)
        assert got.shape == expected.shape


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


@pytest.mark.parametrize("key", [(0, 0, 0, 0, 0), (..., ...)])
def test_shape_errors(key: Any) -> None:
    with pytest.raises(ShapeError):
        gx.asarray(X)[key]


@pytest.mark.parametrize("key", [True, X > 3, "a", 1.5, np.array([1.0]), [True, False]])
def test_keys_that_are_none(key: Any) -> None:
    with pytest.raises(DTypeError):
        gx.asarray(X)[key]


def test_masks_name_the_alternative() -> None:
    with pytest.raises(DTypeError, match=r"gx\.where"):
        gx.asarray(X)[X > 3]
