"""Hand-built kernels that between them take every path of the Triton lowerings."""

from __future__ import annotations

import math
from collections.abc import Callable

from graphc.index import Bound, Index
from graphc.kernel import Kernel
from graphc.types import DType, bfloat16, bool_, float16, float32, float64, int8, int32, int64, uint8, uint32
from tests.build_kernels import Build, axes


def _sub(s, a, b):
    return a - b


def _mul(s, a, b):
    return a * b


def _add(s, a, b):
    return a + b


def _div(s, a, b):
    return a / b


def _exp(s, a):
    return s.exp(a)


def _gelu(s, x):
    return 0.5 * x * (1 + s.erf(x * math.sqrt(0.5)))


def softmax(n: int = 10, m: int = 100) -> Kernel:
    b = Build()
    (i, r), (row, column) = axes(i0=n, r0=m)
    x, y = b.slot("x", n * m), b.slot("y", n * m)
    at = row * m + column
    v = b.load(x, at)
    e = b.apply(_exp, b.apply(_sub, v, b.max(v, (r,))))
    b.store(y, at, b.apply(_div, e, b.sum(e, (r,))))
    return b.kernel((i,), (r,))


def softmax_of_columns() -> Kernel:
    b = Build()
    n, m = 40, 70
    (i, r), (column, row) = axes(i0=m, r0=n)
    x, y = b.slot("x", n * m), b.slot("y", n * m)
    at = row * m + column
    v = b.load(x, at)
    e = b.apply(_exp, b.apply(_sub, v, b.max(v, (r,))))
    b.store(y, at, b.apply(_div, e, b.sum(e, (r,))))
    return b.kernel((i,), (r,))


def layer_norm(n: int = 6, m: int = 96) -> Kernel:
    b = Build()
    (i, r), (row, column) = axes(i0=n, r0=m)
    x, scale, shift = b.slot("x", n * m), b.slot("scale", m), b.slot("shift", m)
    y, mean = b.slot("y", n * m), b.slot("mean", n)
    at = row * m + column
    v = b.load(x, at)
    average = b.apply(lambda s, t: t * (1 / m), b.sum(v, (r,)), name="mean")
    centred = b.apply(_sub, v, average)
    square = b.apply(lambda s, t: t * t, centred, name="square")
    factor = b.apply(lambda s, t: 1 / s.sqrt(t * (1 / m) + 1e-5), b.sum(square, (r,)), name="rsqrt")
    result = b.apply(_mul, b.apply(_mul, centred, factor), b.load(scale, column))
    b.store(y, at, b.apply(_add, result, b.load(shift, column)))
    b.store(mean, row, average)
    return b.kernel((i,), (r,))


def layer_norm_gradient(n: int = 50, m: int = 96) -> Kernel:
    """A row reduction and two sums over the parallel axis, in one kernel."""
    b = Build()
    (i, r), (row, column) = axes(i0=n, r0=m)
    x, g, scale = b.slot("x", n * m), b.slot("g", n * m), b.slot("scale", m)
    dx, dscale, dshift = b.slot("dx", n * m), b.slot("dscale", m), b.slot("dshift", m)
    at = row * m + column
    v, up = b.load(x, at), b.load(g, at)
    scaled = b.apply(_mul, up, b.load(scale, column))
    total = b.sum(b.apply(_mul, scaled, v), (r,))
    b.store(dx, at, b.apply(_sub, scaled, b.apply(_mul, v, total)))
    b.store(dscale, column, b.apply(_mul, up, v), accumulate=(i,))
    b.store(dshift, column, up, accumulate=(i,))
    return b.kernel((i,), (r,))


def column_sum_of_rows() -> Kernel:
    """The reduced axis is the outer one in memory."""
    b = Build()
    (i, r), (column, row) = axes(i0=70, r0=100)
    x, y = b.slot("x", 7000), b.slot("y", 70)
    b.store(y, column, b.sum(b.load(x, row * 70 + column), (r,)))
    return b.kernel((i,), (r,))


def column_sum_accumulated() -> Kernel:
    """No row at all: a store that sums over one of two parallel axes, beside one that does not."""
    b = Build()
    (i, j), (row, column) = axes(i0=100, i1=70)
    x, y, z = b.slot("x", 7000), b.slot("y", 70), b.slot("z", 7000)
    at = row * 70 + column
    v = b.load(x, at)
    b.store(y, column, v, accumulate=(i,))
    b.store(z, at, b.apply(_exp, v))
    return b.kernel((i, j))


def sums_over_different_axes() -> Kernel:
    """One store sums over all parallel axes, another over two of them."""
    b = Build()
    (i, j, k, r), (a, c, d, e) = axes(i0=4, i1=5, i2=33, r0=20)
    x, y, z = b.slot("x", 4 * 5 * 33 * 20), b.slot("y", 5 * 20), b.slot("z", 20)
    t = b.slot("t", 5)
    v = b.load(x, ((a * 5 + c) * 33 + d) * 20 + e)
    b.store(y, c * 20 + e, v, accumulate=(i, k))
    b.store(z, e, v, accumulate=(i, j, k))
    b.store(t, c, b.sum(v, (r,)), accumulate=(i, k))
    return b.kernel((i, j, k), (r,))


def columns_of_every_kind() -> Kernel:
    """What is accumulated need be no sum: a maximum, where it is, whether any is large, and the logarithm of a sum of
    exponentials, of rows that are reduced as well, and of single elements."""
    b = Build()
    (i, j, r), (row, column, at) = axes(i0=33, i1=20, r0=24)
    x, y, most = b.slot("x", 33 * 20 * 24), b.slot("y", 33 * 20), b.slot("most", 20 * 24)
    where, large, total = b.slot("where", 20, int64), b.slot("large", 20, bool_), b.slot("total", 24)
    v = b.load(x, (row * 20 + column) * 24 + at)

    def any_(n, over):
        return b.reduce(lambda s, p, q: p | q, [False], [n], over, name="any")

    def argmax(n, over):
        return _argmax(b, [n, b.position(row)], over)

    sums = b.sum(v, (r,))
    b.store(y, row * 20 + column, sums)
    b.store(most, column * 24 + at, b.accumulated(v, (i,), b.max))
    b.store(where, column, b.accumulated(sums, (i,), argmax))
    b.store(large, column, b.accumulated(b.apply(lambda s, t: t > 9, sums, name="large"), (i,), any_))
    b.store(total, at, b.accumulated(v, (i, j), lambda n, over: _log_sum_exp(b, n, over)))
    return b.kernel((i, j), (r,))


def sums_over_disjoint_axes() -> Kernel:
    """No axis is summed by both stores."""
    b = Build()
    (i, j, r), (a, c, e) = axes(i0=6, i1=5, r0=20)
    x, y, z = b.slot("x", 600), b.slot("y", 6), b.slot("z", 5)
    v = b.sum(b.load(x, (a * 5 + c) * 20 + e), (r,))
    b.store(y, a, v, accumulate=(j,))
    b.store(z, c, v, accumulate=(i,))
    return b.kernel((i, j), (r,))


def sum_of_nothing() -> Kernel:
    b = Build()
    (i, r), (row, column) = axes(i0=5, r0=0)
    x, y = b.slot("x", 0), b.slot("y", 5)
    b.store(y, row, b.sum(b.load(x, row + column), (r,)))
    return b.kernel((i,), (r,))


def product_of_nothing() -> Kernel:
    b = Build()
    (i, j, c), (row, column, at) = axes(i0=5, i1=6, k0=0)
    x, w, y = b.slot("x", 0), b.slot("w", 0), b.slot("y", 30)
    b.store(y, row * 6 + column, b.dot(b.load(x, row + at), b.load(w, at * 6 + column), (c,)))
    return b.kernel((i, j), (), (c,))


def nothing() -> Kernel:
    """What fusion leaves of empty results."""
    return Build().kernel(())


def row_sums_with_update() -> Kernel:
    """A slot for each row that is stored to in place, and loaded for another store and for the reduction too."""
    b = Build()
    (i, r), (row, column) = axes(i0=5, r0=40)
    x, w, y, z = b.slot("x", 200), b.slot("w", 5), b.slot("y", 5), b.slot("z", 5)
    old = b.load(w, row)
    b.store(w, row, b.const(7.0))
    b.store(y, row, b.apply(_exp, old))
    b.store(z, row, b.sum(b.apply(_mul, b.load(x, row * 40 + column), old), (r,)))
    return b.kernel((i,), (r,))


def transposed_sum() -> Kernel:
    """x + yᵀ."""
    b = Build()
    (i, j), (row, column) = axes(i0=48, i1=40)
    x, y, z = b.slot("x", 1920), b.slot("y", 1920), b.slot("z", 1920)
    v = b.apply(_add, b.load(x, row * 40 + column), b.load(y, column * 48 + row))
    b.store(z, row * 40 + column, v)
    return b.kernel((i, j))


def sum_over_two_axes() -> Kernel:
    """Row axes that are not neighbours in memory, as in batch norm."""
    b = Build()
    (i, r, q), (channel, image, pixel) = axes(i0=3, r0=4, r1=50)
    x, y = b.slot("x", 600), b.slot("y", 600)
    at = (image * 3 + channel) * 50 + pixel
    v = b.load(x, at)
    b.store(y, at, b.apply(_sub, v, b.apply(lambda s, t: t * (1 / 200), b.sum(v, (r, q)), name="mean")))
    return b.kernel((i,), (r, q))


def sum_over_two_axes_only() -> Kernel:
    b = Build()
    (i, r, q), (channel, image, pixel) = axes(i0=3, r0=4, r1=50)
    x, y = b.slot("x", 600), b.slot("y", 3)
    total = b.sum(b.load(x, (image * 3 + channel) * 50 + pixel), (r, q))
    b.store(y, channel, b.apply(lambda s, t: t * (1 / 200), total, name="mean"))
    return b.kernel((i,), (r, q))


def total(size: int) -> Kernel:
    b = Build()
    (r,), (at,) = axes(r0=size)
    x, y = b.slot("x", size), b.slot("y", 1)
    b.store(y, Index(), b.sum(b.load(x, at), (r,)))
    return b.kernel((), (r,))


def sum_of_all() -> Kernel:
    return total(20000)


def sum_of_constant() -> Kernel:
    """What is summed does not vary along the row, or does not vary at all."""
    b = Build()
    (i, r), (row, _) = axes(i0=5, r0=33)
    x, y = b.slot("x", 5), b.slot("y", 5)
    first = b.sum(b.load(x, row), (r,))
    b.store(y, row, b.apply(_add, first, b.sum(b.const(0.5), (r,))))
    return b.kernel((i,), (r,))


def argmax(m: int = 100) -> Kernel:
    """A state of two components; NaN counts as the greatest, the first of equals wins."""
    b = Build()
    (i, r), (row, column) = axes(i0=9, r0=m)
    x, y = b.slot("x", 9 * m), b.slot("y", 9, int64)
    inputs = [b.load(x, row * m + column), b.position(column)]
    b.store(y, row, _argmax(b, inputs, (r,)))
    return b.kernel((i,), (r,))


def _argmax(b, inputs, axes):
    def combine(s, a, i, b, j):
        greater = (b < a) | (s.is_nan(a) & ~s.is_nan(b))
        equal = s.eq(a, b) | (s.is_nan(a) & s.is_nan(b))
        first = greater | (equal & (i < j))
        return s.select(first, a, b), s.select(first, i, j)

    return b.reduce(combine, [-math.inf, int64.max], inputs, axes, lambda s, v, at: at, name="argmax")


def log_sum_exp() -> Kernel:
    """A state of two components whose combination computes: running maximum and rescaled sum. The sum starts as 1,
    by a recipe that ignores the element."""
    b = Build()
    (i, r), (row, column) = axes(i0=5, r0=70)
    x, y = b.slot("x", 350), b.slot("y", 5)
    b.store(y, row, _log_sum_exp(b, b.load(x, row * 70 + column), (r,)))
    return b.kernel((i,), (r,))


def _log_sum_exp(b, element, axes):
    def combine(s, m, t, n, u):
        top = s.max(m, n)
        base = s.select(s.eq(top, -math.inf), 0.0, top)
        return top, t * s.exp(m - base) + u * s.exp(n - base)

    inputs = [element, b.apply(lambda s, t: s.const(1.0, float32), element, name="one")]
    finish = lambda s, m, t: s.log(t) + m  # noqa: E731
    return b.reduce(combine, [-math.inf, 0.0], inputs, axes, finish, name="logsumexp")


def any_and_all() -> Kernel:
    b = Build()
    (i, r), (row, column) = axes(i0=6, r0=40)
    x, y, z = b.slot("x", 240, bool_), b.slot("y", 6, bool_), b.slot("z", 6, bool_)
    v = b.load(x, row * 40 + column)
    b.store(y, row, b.reduce(lambda s, p, q: p | q, [False], [v], (r,), name="any"))
    b.store(z, row, b.reduce(lambda s, p, q: p & q, [True], [v], (r,), name="all"))
    return b.kernel((i,), (r,))


def integer_reductions() -> Kernel:
    """int8 wraps, uint32 compares unsigned."""
    b = Build()
    (i, r), (row, column) = axes(i0=4, r0=30)
    x, u = b.slot("x", 120, int8), b.slot("u", 120, uint32)
    y, z = b.slot("y", 4, int8), b.slot("z", 4, uint32)
    at = row * 30 + column
    b.store(y, row, b.sum(b.load(x, at), (r,)))
    flipped = b.apply(lambda s, t: ~t, b.load(u, at), name="invert")
    b.store(z, row, b.max(flipped, (r,)))
    return b.kernel((i,), (r,))


def linear_gelu(
    m: int = 50, k: int = 70, n: int = 40, dtype: DType = float32, transposed: bool = True
) -> Kernel:
    """gelu(x @ wᵀ + bias): w lies transposed in memory, and the rest is applied to the tile."""
    b = Build()
    (i, j, c), (row, column, at) = axes(i0=m, i1=n, k0=k)
    x, w = b.slot("x", m * k, dtype), b.slot("w", n * k, dtype)
    bias, y = b.slot("bias", n), b.slot("y", m * n, dtype)
    weight = b.load(w, column * k + at if transposed else at * n + column)
    product = b.dot(b.load(x, row * k + at), weight, (c,))
    b.store(y, row * n + column, b.apply(_gelu, b.apply(_add, product, b.load(bias, column))))
    return b.kernel((i, j), (), (c,))


def widened_product() -> Kernel:
    """bfloat16 operands that the kernel widens before it multiplies."""
    b = Build()
    (i, j, c), (row, column, at) = axes(i0=20, i1=24, k0=40)
    x, w, y = b.slot("x", 800, bfloat16), b.slot("w", 960, bfloat16), b.slot("y", 480)
    left, right = b.cast(b.load(x, row * 40 + at), float32), b.cast(b.load(w, at * 24 + column), float32)
    b.store(y, row * 24 + column, b.dot(left, right, (c,)))
    return b.kernel((i, j), (), (c,))


def batched_product() -> Kernel:
    """Heads of attention: scores of queries and keys, scaled; two batch axes."""
    b = Build()
    (i, h, p, q, c), (batch, head, s, t, d) = axes(i0=2, i1=3, i2=20, i3=36, k0=24)
    x, y, z = b.slot("q", 2 * 20 * 3 * 24), b.slot("k", 2 * 36 * 3 * 24), b.slot("scores", 2 * 3 * 20 * 36)
    left = b.load(x, ((batch * 20 + s) * 3 + head) * 24 + d)
    right = b.load(y, ((batch * 36 + t) * 3 + head) * 24 + d)
    scaled = b.apply(lambda s, v: v * 0.5, b.dot(left, right, (c,)), name="scale")
    b.store(z, ((batch * 3 + head) * 20 + s) * 36 + t, scaled)
    return b.kernel((i, h, p, q), (), (c,))


def product_of_functions() -> Kernel:
    """The operands are computed: exp of what lies beyond the contracted axis must not count."""
    b = Build()
    (i, j, c), (row, column, at) = axes(i0=18, i1=20, k0=21)
    x, w, y = b.slot("x", 18 * 21), b.slot("w", 21 * 20), b.slot("y", 18 * 20)
    left, right = b.apply(_exp, b.load(x, row * 21 + at)), b.apply(_exp, b.load(w, at * 20 + column))
    b.store(y, row * 20 + column, b.dot(left, right, (c,)))
    return b.kernel((i, j), (), (c,))


def convolution() -> Kernel:
    """A 3×3 convolution with padding: the contraction whose operand is bounded and whose rows overlap."""
    b = Build()
    (i, p, q, o, c, u, v), (image, row, column, out, channel, ku, kv) = axes(
        i0=2, i1=8, i2=7, i3=20, k0=5, k1=3, k2=3
    )
    x, w, y = b.slot("x", 2 * 8 * 7 * 5), b.slot("w", 20 * 5 * 9), b.slot("y", 2 * 8 * 7 * 20)
    h, t = row + ku - 1, column + kv - 1
    left = b.load(x, ((image * 8 + h) * 7 + t) * 5 + channel, Bound(h, 0, 8), Bound(t, 0, 7))
    right = b.load(w, ((out * 5 + channel) * 3 + ku) * 3 + kv)
    b.store(y, ((image * 8 + row) * 7 + column) * 20 + out, b.dot(left, right, (c, u, v)))
    return b.kernel((i, p, q, o), (), (c, u, v))


def matrix_vector() -> Kernel:
    b = Build()
    (i, c), (row, at) = axes(i0=30, k0=50)
    x, w, y = b.slot("x", 1500), b.slot("w", 50), b.slot("y", 30)
    b.store(y, row, b.dot(b.load(x, row * 50 + at), b.load(w, at), (c,)))
    return b.kernel((i,), (), (c,))


def integer_product() -> Kernel:
    b = Build()
    (i, j, c), (row, column, at) = axes(i0=5, i1=6, k0=7)
    x, w, y = b.slot("x", 35, int32), b.slot("w", 42, int32), b.slot("y", 30, int32)
    product = b.dot(b.load(x, row * 7 + at), b.load(w, at * 6 + column), (c,), int32)
    b.store(y, row * 6 + column, b.apply(lambda s, v: v + 1, product, name="increment"))
    return b.kernel((i, j), (), (c,))


def double_product() -> Kernel:
    b = Build()
    (i, j, c), (row, column, at) = axes(i0=5, i1=6, k0=40)
    x, w, y = b.slot("x", 200, float64), b.slot("w", 240, float64), b.slot("y", 30, float64)
    b.store(y, row * 6 + column, b.dot(b.load(x, row * 40 + at), b.load(w, at * 6 + column), (c,), float64))
    return b.kernel((i, j), (), (c,))


def product_with_sums() -> Kernel:
    """The gradient of a bias, out of the tile that makes the gradient of a weight: sums over m, over n, over both."""
    b = Build()
    (i, j, c), (row, column, at) = axes(i0=40, i1=36, k0=20)
    x, w = b.slot("x", 800), b.slot("w", 720)
    y, rows, columns, total = b.slot("y", 1440), b.slot("rows", 40), b.slot("columns", 36), b.slot("total", 1)
    v = b.dot(b.load(x, row * 20 + at), b.load(w, at * 36 + column), (c,))
    b.store(y, row * 36 + column, v)
    b.store(rows, row, v, accumulate=(j,))
    b.store(columns, column, v, accumulate=(i,))
    b.store(total, Index(), b.apply(_exp, b.apply(lambda s, t: t * 0.1, v, name="tenth")), accumulate=(i, j))
    return b.kernel((i, j), (), (c,))


def weight_update() -> Kernel:
    """An update in place, as the epilogue of the gradient's product."""
    b = Build()
    (i, j, c), (row, column, at) = axes(i0=20, i1=30, k0=32)
    x, g, w = b.slot("x", 640), b.slot("g", 960), b.slot("w", 600)
    gradient = b.dot(b.load(x, at * 20 + row), b.load(g, at * 30 + column), (c,))
    place = row * 30 + column
    b.store(w, place, b.apply(lambda s, p, d: p - 0.1 * d, b.load(w, place), gradient, name="descend"))
    return b.kernel((i, j), (), (c,))


def pad_and_concat() -> Kernel:
    b = Build()
    (i, j), (row, column) = axes(i0=33, i1=64)
    x, y, z, out = b.slot("x", 30 * 60), b.slot("y", 16 * 64), b.slot("z", 17 * 64), b.slot("out", 33 * 64)
    inner = (Bound(row - 1, 0, 30), Bound(column - 2, 0, 60))
    padded = b.apply(
        lambda s, m, p, q: s.select(m, p, q),
        b.inside(*inner), b.load(x, (row - 1) * 60 + column - 2, *inner), b.const(-1.5), name="select",
    )  # fmt: skip
    top, low = Bound(row, 0, 16), Bound(row - 16, 0, 17)
    joined = b.apply(
        lambda s, m, p, q: s.select(m, p, q),
        b.inside(top), b.load(y, row * 64 + column, top), b.load(z, (row - 16) * 64 + column, low), name="select",
    )  # fmt: skip
    b.store(out, row * 64 + column, b.apply(_add, padded, joined))
    return b.kernel((i, j))


def divided_indices() -> Kernel:
    """Indices with // and %, of numbers that may be negative too."""
    b = Build()
    (i,), (at,) = axes(i0=60)
    x, y, z = b.slot("x", 40), b.slot("y", 60), b.slot("z", 60, int64)
    down = (at - 7) // 4
    b.store(y, at, b.load(x, (at - 7) % 5 * 4 + down + 2, Bound(down, -2, 10)))
    b.store(z, at, b.position((at * 3 - 50) // 7 + (at - 9) % 4))
    return b.kernel((i,))


def gather() -> Kernel:
    """Rows of a table, doubled."""
    b = Build()
    (i, j), (token, column) = axes(i0=12, i1=20)
    table, indices, y = b.slot("table", 80), b.slot("indices", 12, int64), b.slot("y", 240)
    row = b.gathered(b.load(indices, token), 4, (i,))
    b.store(
        y, token * 20 + column, b.apply(lambda s, v: v * 2, b.load(table, row * 20 + column), name="double")
    )
    return b.kernel((i, j))


def gather_one() -> Kernel:
    """One row, chosen by a single index, summed."""
    b = Build()
    (r,), (column,) = axes(r0=20)
    table, indices, y = b.slot("table", 80), b.slot("indices", 1, int64), b.slot("y", 1)
    row = b.gathered(b.load(indices, Index()), 4, ())
    b.store(y, Index(), b.sum(b.load(table, row * 20 + column), (r,)))
    return b.kernel((), (r,))


def scatter_rows() -> Kernel:
    """The gradient of a gather: rows are added where their index says, several to one row."""
    b = Build()
    (i, j), (token, column) = axes(i0=12, i1=20)
    g, indices, y = b.slot("g", 240), b.slot("indices", 12, int64), b.slot("y", 80)
    row = b.gathered(b.load(indices, token), 4, (i,))
    b.store(y, row * 20 + column, b.load(g, token * 20 + column), scatter=True)
    return b.kernel((i, j))


def scatter_along_last_axis() -> Kernel:
    """The gradient of take_along_axis: lanes are rows, the index varies with everything."""
    b = Build()
    (i, j), (row, column) = axes(i0=12, i1=10)
    g, indices, y = b.slot("g", 120), b.slot("indices", 120, int64), b.slot("y", 48)
    at = row * 10 + column
    place = b.gathered(b.load(indices, at), 4, (i, j))
    b.store(y, row * 4 + place, b.load(g, at), scatter=True)
    return b.kernel((i, j))


def scatter_overlapping() -> Kernel:
    """Neighbouring points may meet, so one program walks them all."""
    b = Build()
    (i, j), (token, column) = axes(i0=6, i1=5)
    g, indices, y = b.slot("g", 30), b.slot("indices", 6, int64), b.slot("y", 8)
    start = b.gathered(b.load(indices, token), 4, (i,))
    b.store(y, start + column, b.load(g, token * 5 + column), scatter=True)
    return b.kernel((i, j))


def bytes_and_bools() -> Kernel:
    b = Build()
    (i,), (at,) = axes(i0=50)
    x, m, y, z = (
        b.slot("x", 50, uint8),
        b.slot("mask", 50, bool_),
        b.slot("y", 50, bool_),
        b.slot("z", 50, uint8),
    )
    v, mask = b.load(x, at), b.load(m, at)
    b.store(y, at, b.apply(lambda s, p, t: ~p | (t < 50), mask, v, name="test"))
    b.store(z, at, b.apply(lambda s, p, t: s.select(p, t * 7, t - 60), mask, v, name="wrap"))
    return b.kernel((i,))


def half_precision() -> Kernel:
    """16-bit floats are widened, computed with, and rounded when stored."""
    b = Build()
    (i,), (at,) = axes(i0=50)
    x, y, z = b.slot("x", 50, float16), b.slot("y", 50, bfloat16), b.slot("z", 50, float16)
    v = b.apply(_exp, b.cast(b.load(x, at), float32))
    b.store(y, at, v)
    b.store(z, at, v)
    return b.kernel((i,))


KERNELS: dict[str, Callable[[], Kernel]] = {
    f.__name__: f
    for f in (
        columns_of_every_kind, softmax, softmax_of_columns,
        layer_norm, layer_norm_gradient, column_sum_of_rows, column_sum_accumulated,
        sums_over_different_axes, sums_over_disjoint_axes, sum_of_nothing, product_of_nothing, nothing,
        row_sums_with_update,
        transposed_sum, sum_over_two_axes, sum_over_two_axes_only,
        sum_of_all, sum_of_constant, argmax, log_sum_exp,
        any_and_all, integer_reductions, linear_gelu, widened_product, batched_product, product_of_functions,
        convolution, matrix_vector, integer_product, double_product, product_with_sums, weight_update, pad_and_concat,
        divided_indices, gather, gather_one, scatter_rows, scatter_along_last_axis, scatter_overlapping,
        bytes_and_bools, half_precision,
    )
}  # fmt: skip
