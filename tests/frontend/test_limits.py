"""Sizes at the ends of what there can be: axes without elements, too many axes, and more bytes than can be counted."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import ShapeError, nn
from graphc.types import MAX_RANK

LONG = (1,) * MAX_RANK
FULL = gx.zeros(LONG)

TOO_MANY_AXES: dict[str, Callable[[], Any]] = {
    "zeros": lambda: gx.zeros((*LONG, 1)),
    "full": lambda: gx.full((*LONG, 1), 1.5),
    "reshape": lambda: gx.reshape(gx.ones(1), (*LONG, 1)),
    "expand_dims": lambda: gx.expand_dims(FULL, 0),
    "index": lambda: FULL[None],
    "positions": lambda: FULL[np.zeros((1, 1), int)],
    "broadcast_to": lambda: gx.broadcast_to(gx.ones(1), (*LONG, 1)),
    "stack": lambda: gx.stack([FULL]),
    "take": lambda: gx.take(FULL, np.zeros((1, 1), int), axis=0),
    "tensordot": lambda: gx.tensordot(gx.zeros(LONG[:40]), gx.zeros(LONG[:40]), axes=0),
    "one_hot": lambda: gx.one_hot(gx.zeros(LONG, dtype="int64"), 3),
}

TOO_LARGE: dict[str, Callable[[], Any]] = {
    "zeros": lambda: gx.zeros(2**62),
    "two axes": lambda: gx.zeros((2**31, 2**31)),
    "beyond 64 bits": lambda: gx.zeros((2**40, 2**40)),
    "one axis beyond": lambda: gx.zeros(2**63, dtype="int8"),
    "with an empty axis": lambda: gx.zeros((0, 2**62, 4)),
    "arange": lambda: gx.arange(2**62),
    "broadcast_to": lambda: gx.broadcast_to(gx.ones(1), (2**62,)),
    "broadcast": lambda: gx.broadcast_to(gx.ones(1), (2**40, 1)) + gx.broadcast_to(gx.ones(1), (2**30,)),
    "repeat": lambda: gx.repeat(gx.ones(2), 2**62),
    "tile": lambda: gx.tile(gx.ones(2), 2**62),
    "pad": lambda: gx.pad(gx.ones(2), 2**62),
    "one_hot": lambda: gx.one_hot(gx.asarray([1]), 2**62),
    "reduced again": lambda: gx.sum(gx.zeros((2**40, 2**40))),
}

CASES = [("axes", n, f) for n, f in TOO_MANY_AXES.items()] + [("bytes", n, f) for n, f in TOO_LARGE.items()]


@pytest.mark.parametrize(
    ("limit", "name", "make"), CASES, ids=[f"{limit} {name}" for limit, name, _ in CASES]
)
def test_limits(limit: str, name: str, make: Callable[[], Any]) -> None:
    for call in (make, lambda: gx.trace(make), gx.compile(make)):
        with pytest.raises(ShapeError, match=f"a tensor has at most .* {limit}") as error:
            call()
        assert error.value.where is not None and error.value.where.file == __file__


def test_as_many_axes_as_there_can_be() -> None:
    for function in (
        lambda x: gx.sum(x + 1),
        lambda x: gx.tile(x, 2)[..., 1],
        lambda x: gx.permute_dims(x, range(x.ndim)),
    ):
        x = np.ones(LONG, np.float32)
        np.testing.assert_array_equal(gx.compile(function)(x).numpy(), function(gx.asarray(x)).numpy())


EMPTY: list[tuple[Any, float]] = [
    (gx.sum, 0), (gx.prod, 1), (gx.any, 0), (gx.all, 1), (gx.count_nonzero, 0), (gx.mean, np.nan), (gx.var, np.nan),
    (gx.std, np.nan), (gx.logsumexp, -np.inf), (gx.linalg.vector_norm, 0),
]  # fmt: skip


@pytest.mark.parametrize(("function", "value"), EMPTY, ids=[f.__name__ for f, _ in EMPTY])
@pytest.mark.parametrize(
    ("shape", "axis"), [((2, 0), 1), ((0,), 0), ((0, 3), None), ((0, 0), 0), ((0, 3), 1)]
)
def test_reductions_of_nothing(function: Any, value: float, shape: Any, axis: Any) -> None:
    x = np.zeros(shape, np.float32)
    kept = () if axis is None else tuple(n for a, n in enumerate(shape) if a != axis)
    for call in (function, gx.compile(lambda x: function(x, axis=axis))):
        found = call(x, axis=axis) if call is function else call(x)
        np.testing.assert_array_equal(found.numpy(), np.full(kept, value, found.numpy().dtype))


@pytest.mark.parametrize("function", [gx.max, gx.min, gx.argmax, gx.argmin])
def test_extremes_of_nothing_have_no_value(function: Any) -> None:
    for shape, axis in (((2, 0), 1), ((0,), 0), ((0, 3), None), ((0, 0), 0)):
        x = gx.zeros(shape)
        for call in (function, lambda x, axis: gx.trace(lambda x: function(x, axis=axis), x)):
            with pytest.raises(ShapeError, match=f"{function.__name__} of no elements") as error:
                call(x, axis=axis)
            assert error.value.where is not None and error.value.where.file == __file__
        assert function(gx.zeros((0, 3)), axis=1).shape == (0,)


@pytest.mark.parametrize("function", [nn.softmax, nn.log_softmax])
@pytest.mark.parametrize("shape", [(2, 0), (0,), (0, 0), (0, 3)])
def test_softmax_of_nothing(function: Any, shape: Any) -> None:
    x = np.zeros(shape, np.float32)
    for found in (function(x), gx.compile(function)(x), gx.grad(lambda x: gx.sum(function(x)))(x)):
        assert found.shape == shape


def test_specs_have_limits() -> None:
    for shape in ((*LONG, None), (2**62, "time")):
        with pytest.raises(ShapeError, match="at most"):
            gx.spec(shape)


def test_sizes_below_zero() -> None:
    for make in (
        lambda: gx.zeros(-1),
        lambda: gx.broadcast_to(gx.ones(1), (-1,)),
        lambda: gx.tile(gx.ones(1), -1),
    ):
        for call in (make, lambda make=make: gx.trace(make)):
            with pytest.raises(ShapeError, match="≥ 0"):
                call()
