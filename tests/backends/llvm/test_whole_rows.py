"""Products whose rows are reduced in the units that make them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphc.backends.llvm.lower import lower
from graphc.backends.llvm.products.whole_rows import Rows, plan_rows, rows_of
from graphc.backends.llvm.target import Target, describe, host_target
from graphc.dataclass import replace
from graphc.kernel import Kernel, KernelKind
from graphc.types import DType, bfloat16, float16, float32, float64, int64
from graphc.verify_kernel import verify_kernel
from tests.backends.llvm.native import compile_kernel
from tests.backends.llvm.test_lowering_fuzz import check
from tests.build_kernels import Build, axes, random_array

BASELINE = describe("x86_64-unknown-linux-gnu", "x86-64", "+sse2")


def kernel_of(
    batch: int, m: int, n: int, k: int, form: str, dtype: DType = float32, transposed: bool = False
) -> Kernel:
    """x[b, i, k] · w[k, j] + bias[j], and what a form does with its rows."""
    b = Build()
    (g, i, j, c), (group, row, column, at) = axes(b0=batch, i0=m, r0=n, k0=k)
    x, w, bias = b.slot("x", batch * m * k, dtype), b.slot("w", k * n, dtype), b.slot("bias", n)
    wide = dtype if dtype.bits >= 32 else float32
    product = b.dot(
        b.load(x, (group * m + row) * k + at), b.load(w, column * k + at if transposed else at * n + column), (c,), wide
    )
    s = b.apply(lambda s, t, u: t + s.cast(u, t.dtype), product, b.load(bias, column), name="add")
    place, rows, over = (group * m + row) * n + column, group * m + row, (j,)
    parallel = (g, i) if batch > 1 else (i,)

    def output(name: str, size: int, value: int, index: object, dtype: DType = wide) -> None:
        b.store(b.slot(name, size, dtype), index, value)  # type: ignore[arg-type]

    if form in ("softmax", "everything"):
        most = b.max(s, over)
        e = b.apply(lambda s, t, u: s.exp(t - u), s, most, name="exp")
        total = b.sum(e, over)
        p = b.apply(lambda s, t, u: t / u, e, total, name="divide")
        output("p", batch * m * n, p, place, float16 if dtype is float16 else wide)
        output("total", batch * m, total, rows)
        if form == "everything":
            output("columns", n, b.accumulated(p, (i,)), column)
            output("most", n, b.accumulated(p, (i,), b.max), column, float16)
            loss = b.apply(lambda s, t: s.log(t), total, name="log")
            output("loss", 1, b.accumulated(loss, (i,)), column * 0)
    elif form == "norm":
        mean = b.apply(lambda s, t: t * (1 / n), b.sum(s, over), name="mean")
        d = b.apply(lambda s, t, u: t - u, s, mean, name="centred")
        square = b.sum(b.apply(lambda s, t: t * t, d, name="square"), over)
        result = b.apply(lambda s, t, u: t / s.sqrt(u * (1 / n) + 1e-5), d, square, name="norm")
        output("y", batch * m * n, result, place)
    else:
        later = lambda s, a, p, c, q: (s.max(a, c), s.select((c < a) | (s.eq(a, c) & (p < q)), p, q))  # noqa: E731
        found = b.reduce(later, [-math.inf, (1 << 63) - 1], [s, b.position(column)], over, lambda s, a, p: p)
        output("where", batch * m, found, rows, int64)
        output("sum", batch * m, b.sum(s, over), rows)
    return b.kernel(parallel, (j,), (c,))


def arrays_of(kernel: Kernel, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [random_array(s, rng) / 4 if s.dtype.is_float else random_array(s, rng) for s in kernel.slots]


SHAPES = [(1, 37, 21, 19), (1, 300, 10, 64), (3, 50, 130, 33), (1, 7, 2, 5), (1, 1, 40, 8), (2, 96, 64, 300)]


@pytest.mark.parametrize("form", ["softmax", "norm", "argmax", "everything"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_of_a_product(shape: tuple[int, int, int, int], form: str) -> None:
    if form == "everything":
        shape = (1, *shape[1:])
    kernel = kernel_of(*shape, form)
    verify_kernel(kernel)
    assert kernel.kind is KernelKind.ATTENTION
    rows = rows_of(kernel, host_target())
    if shape[1] == 1:  # no tiles
        assert isinstance(rows, str)
        return
    assert isinstance(rows, Rows), rows
    check(kernel, arrays_of(kernel), compile_kernel(kernel))


@pytest.mark.parametrize("shape", [(1, 500, 130, 30), (1, 1001, 10, 20), (1, 481, 100, 70)], ids=str)
@pytest.mark.parametrize("form", ["softmax", "everything"])
def test_many_units(shape: tuple[int, int, int, int], form: str) -> None:
    """A second cache so small that units are few rows, and a last one of fewer; k in chunks."""
    kernel = kernel_of(*shape, form)
    target = replace(host_target(), l2=64 << 10)
    rows = rows_of(kernel, target)
    assert isinstance(rows, Rows)
    assert rows.blocking.units > 7 and plan_rows(kernel, rows, target).parted.rest
    check(kernel, arrays_of(kernel), compile_kernel(kernel, target))


@pytest.mark.parametrize("target", [host_target(), BASELINE], ids=["host", "baseline"])
@pytest.mark.parametrize("dtype", [float32, float64, float16, bfloat16], ids=str)
def test_dtypes_and_targets(dtype: DType, target: Target) -> None:
    kernel = kernel_of(1, 45, 70, 40, "softmax", dtype, transposed=True)
    rows = rows_of(kernel, target)
    if isinstance(rows, str):
        assert "matrix tiles" in rows
        return
    check(kernel, arrays_of(kernel), compile_kernel(kernel, target))


def test_what_is_refused() -> None:
    reasons = {
        "too long": kernel_of(1, 64, 1 << 15, 1, "softmax"),
        "the same along an axis": kernel_of(1, 1, 40, 8, "softmax"),
        "very many terms": kernel_of(1, 16, 16, 1 << 17, "softmax"),
        "less time apart": kernel_of(1, 96, 100, 1000, "softmax"),
        "other axes": kernel_of(2, 16, 16, 16, "everything"),
    }
    for reason, kernel in reasons.items():
        found = rows_of(kernel, host_target())
        assert isinstance(found, str) and reason in found, (reason, found)


def test_the_product_is_in_no_buffer() -> None:
    kernel = kernel_of(1, 512, 256, 64, "softmax")
    native = lower(kernel, host_target(), "k")
    assert sum(s.size for s in native.scratch) <= 64 * 256 + 64  # the panels of w at most
