"""Reductions over other axes than the row are accumulated while the kernel runs, whatever they reduce."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import ops
from graphc.errors import CompileError
from graphc.kernel import Accumulate, Kernel
from graphc.op import Op
from graphc.passes.fuse import fuse
from graphc.scalar import record
from graphc.types import DType, bool_, float16, float32, int8, int32
from graphc.verify_kernel import verify_kernel
from tests import graphs

REDUCTIONS: dict[tuple[Op, DType], Callable[..., Any]] = {
    (ops.sum, float32): np.sum, (ops.max, float32): np.max, (ops.min, int8): np.min, (ops.prod, int32): np.prod,
    (ops.argmax, float32): np.argmax, (ops.argmin, int8): np.argmin, (ops.any, bool_): np.any,
    (ops.all, bool_): np.all, (ops.max, float16): np.max, (ops.argmax, float16): np.argmax,
}  # fmt: skip


def with_row(op: Op, dtype: DType) -> Kernel:
    """Rows and columns of one matrix: which must be one kernel."""
    x = graphs.source((9, 5), dtype)
    (fused,) = fuse(graphs.graph([x], [op(x, axes=(1,)), op(x, axes=(0,))]))
    return fused.kernel


@pytest.mark.parametrize(("op", "dtype"), REDUCTIONS)
def test_rows_and_columns_are_one_kernel(op: Op, dtype: DType) -> None:
    kernel = with_row(op, dtype)
    verify_kernel(kernel)
    assert sum(isinstance(v, Accumulate) for v in kernel.values) == 1


@pytest.mark.parametrize(("op", "dtype"), REDUCTIONS)
@pytest.mark.parametrize("shape", [(3, 5), (700, 130), (1, 40), (2000, 3)])
def test_rows_and_columns(op: Op, dtype: DType, shape: tuple[int, int]) -> None:
    """In rows beside a softmax, too: it keeps its row, so that columns are accumulated."""
    rng = np.random.default_rng(0)
    data = rng.integers(0, 2, shape) if dtype.is_bool else rng.integers(-3, 4, shape)
    x, name = data.astype(dtype.numpy), op.name
    if name == "prod":
        x = np.where(rng.random(shape) < 0.99, 1, x).astype(dtype.numpy)
    function = getattr(gx, name)
    numpy: Callable[..., Any] = REDUCTIONS[op, dtype]

    @gx.compile
    def both(x):
        p = gx.nn.softmax(gx.astype(x, "float32"), axis=1)
        return function(x, axis=0), function(x, axis=1), p, gx.max(p, axis=0), gx.argmax(p * 2, axis=0)

    first, second, p, most, where = map(np.asarray, both(x))
    np.testing.assert_array_equal(first, numpy(x, axis=0).astype(first.dtype))
    np.testing.assert_array_equal(second, numpy(x, axis=1).astype(second.dtype))
    np.testing.assert_array_equal(most, p.max(0))
    np.testing.assert_array_equal(where, p.argmax(0))


def test_nothing_and_nan() -> None:
    """No rows give the neutral element; NaN is the maximum of its column, and the first one is where it is."""
    both = gx.compile(lambda x: (gx.any(x > 0, axis=0), gx.sum(x, axis=1), gx.max(x, axis=0), gx.argmax(x, axis=0)))
    x = np.array([[1, np.nan, 3], [2, 5, -np.inf], [0, np.nan, 4]], np.float32)
    some, _, most, where = map(np.asarray, both(x))
    assert some.tolist() == [True] * 3 and where.tolist() == [1, 0, 2]
    np.testing.assert_array_equal(most, [2, np.nan, 4])
    nothing = gx.compile(lambda x: (gx.all(x > 0, axis=0), gx.sum(x, axis=1), gx.prod(x, axis=0)))
    found, _, product = map(np.asarray, nothing(np.zeros((0, 4), np.float32)))
    assert found.tolist() == [True] * 4 and product.tolist() == [1.0] * 4


def test_what_is_accumulated_is_for_stores_only() -> None:
    kernel = with_row(ops.max, float32)
    number = next(n for n, v in enumerate(kernel.values) if isinstance(v, Accumulate))
    same = record("same", lambda s, a: a + a, (float32,))
    worse = Kernel(
        kernel.slots, kernel.parallel, kernel.row, (), (*kernel.values, gx.kernel.Apply(same, (number,))), kernel.stores
    )
    with pytest.raises(CompileError, match="before the kernel has ended"):
        verify_kernel(worse)


def test_another_combination_is_another_kernel() -> None:
    """What it combines by, and begins with, is in the digest."""
    digests = {with_row(op, dtype).digest for op, dtype in REDUCTIONS}
    assert len(digests) == len(REDUCTIONS)
