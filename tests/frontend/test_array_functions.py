"""Array functions against NumPy's, concrete and traced; what is equal by construction is compared exactly."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import DTypeError, ShapeError

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((2, 3, 4)).astype(np.float32)
Y = RANDOM.standard_normal((3, 1)).astype(np.float32)
P = np.abs(X) + 0.5
N = RANDOM.integers(-5, 6, (3, 4))
M = RANDOM.integers(1, 5, (4,))
B = X > 0

Case = tuple[str, Callable[[Any], Any], tuple[Any, ...]]

# One function, called with gx and with np; arrays are symbolic in one run and concrete in the other.
CASES: list[Any] = [
    ("add", lambda m, x, y: m.add(x, y), (X, Y)),
    ("operators", lambda m, x, y: (x + y) * 2 - x / (y + 3) + (-x) ** 2 + abs(x) - (+y), (X, Y)),
    ("reflected", lambda m, x: 1 - x + 2 * x + (3 + x) + 1 / (x + 10) + 2.0**x, (X,)),
    ("integers", lambda m, n, k: n // k + n % k - (n & k) + (n | k) ^ (n << 1) ^ (n >> 1) ^ ~n, (N, M)),
    ("comparisons", lambda m, x, y: (x < y) & (x <= y) | (x > y) ^ (x >= y) & ~(x == y) | (x != y), (X, Y)),
    ("exp", lambda m, x: m.exp(x), (X,)),
    ("log", lambda m, x: m.log(x) + m.log1p(x) + m.log2(x) + m.log10(x), (P,)),
    ("expm1", lambda m, x: m.expm1(x) + m.exp2(x), (X,)),
    ("sqrt", lambda m, x: m.sqrt(x) + m.square(x) + m.reciprocal(x) + m.cbrt(x), (P,)),
    ("trigonometric", lambda m, x: m.sin(x) + m.cos(x) + m.tan(x), (X,)),
    ("rounding", lambda m, x: m.floor(x) + m.ceil(x) * 10 + m.trunc(x) * 100 + m.round(x) * 1000, (X * 3,)),
    ("rounding integers", lambda m, n: m.floor(n) + m.round(n), (N,)),
    ("signs", lambda m, x, y: m.sign(x) + m.copysign(x, y) + m.abs(x), (X, Y)),
    ("isnan", lambda m, x: m.isnan(x) | m.isinf(x) | ~m.isfinite(x) | m.signbit(x), (X,)),
    ("isfinite of integers", lambda m, n: m.isfinite(n) & ~m.isnan(n), (N,)),
    ("maximum", lambda m, x, y: m.maximum(x, y) - m.minimum(x, 0.5), (X, Y)),
    ("atan2", lambda m, x, y: m.atan2(x, y) + m.hypot(x, y) + m.logaddexp(x, y), (X, Y)),
    ("logical", lambda m, b: m.logical_and(b, ~b) | m.logical_or(b, b) & m.logical_xor(b, b) | m.logical_not(b), (B,)),
    ("sum", lambda m, x: m.sum(x), (N,)),
    ("sum axis", lambda m, x: m.sum(x, axis=(0, -1), keepdims=True), (X,)),
    ("sum no axes", lambda m, x: m.sum(x, axis=()), (X,)),
    ("prod", lambda m, x: m.prod(x, axis=1), (X,)),
    ("max", lambda m, x: m.max(x, axis=1) + m.min(x, axis=-2), (X,)),
    ("any", lambda m, b: m.any(b, axis=2) & m.all(b, axis=2), (B,)),
    ("argmax", lambda m, x: m.argmax(x, axis=1) + m.argmin(x, axis=1), (X,)),
    ("argmax all", lambda m, x: m.argmax(x), (X,)),
    ("argmax keepdims", lambda m, x: m.argmax(x, axis=1, keepdims=True), (X,)),
    ("mean", lambda m, x: m.mean(x, axis=-1, keepdims=True) + m.mean(x), (X,)),
    ("mean of integers", lambda m, n: m.astype(m.mean(n, axis=0), "float32"), (N,)),
    ("var", lambda m, x: m.var(x, axis=1) + m.std(x), (X,)),
    ("var corrected", lambda m, x: m.var(x, axis=1, correction=1), (X,)),
    ("count_nonzero", lambda m, n: m.count_nonzero(n, axis=0), (N,)),
    ("where", lambda m, b, x, y: m.where(b, x, y), (B, X, Y)),
    ("where numbers", lambda m, b, x: m.where(b, x, 0), (B, X)),
    ("clip", lambda m, x: m.clip(x, -0.5, 0.5), (X,)),
    ("clip above", lambda m, x: m.clip(x, None, 0.5), (X,)),
    ("take", lambda m, x: m.take(x, np.array([2, 0, -1]), axis=1), (X,)),
    ("take flat", lambda m, x: m.take(x, np.array([[5, -1], [0, 1]])), (X,)),
    ("take along axis", lambda m, x, n: m.take_along_axis(x, n[None, :, :1] % 4, axis=2), (X[:1], N)),
    ("take along axis 0", lambda m, n: m.take_along_axis(n, abs(n[:2]) % 3, axis=0), (N,)),
    ("reshape", lambda m, x: m.reshape(x, (4, -1)), (X,)),
    ("reshape empty", lambda m, x: m.reshape(x[:0], (0, 2)), (X,)),
    ("permute_dims", lambda m, x: m.permute_dims(x, (2, 0, 1)), (X,)),
    ("matrix_transpose", lambda m, x: m.matrix_transpose(x), (X,)),
    ("moveaxis", lambda m, x: m.moveaxis(x, 0, -1), (X,)),
    ("moveaxis two", lambda m, x: m.moveaxis(x, (0, 1), (1, 2)), (X,)),
    ("expand_dims", lambda m, x: m.expand_dims(x, axis=(0, -1)), (X,)),
    ("squeeze", lambda m, y: m.squeeze(y, axis=1), (Y,)),
    ("broadcast_to", lambda m, y: m.broadcast_to(y, (2, 3, 4)), (Y,)),
    ("flip", lambda m, x: m.flip(x, axis=(0, 2)), (X,)),
    ("flip all", lambda m, x: m.flip(x), (X,)),
    ("concat", lambda m, x, y: m.concat([x, y], axis=1), (X[0], Y * np.ones((3, 2), np.float32))),
    ("concat promotes", lambda m, n, x: m.concat([m.astype(n, "float32"), x]), (N, X[0])),
    ("concat flat", lambda m, x: m.concat([x, x], axis=None), (X,)),
    ("stack", lambda m, x: m.stack([x, x + 1], axis=-1), (X,)),
    ("unstack", lambda m, x: m.unstack(x, axis=1), (X,)),
    ("split", lambda m, x: m.split(x, 2, axis=2), (X,)),
    ("split at", lambda m, x: m.split(x, [1, 3], axis=2), (X,)),
    ("roll", lambda m, x: m.roll(x, 2, axis=2), (X,)),
    ("split outside", lambda m, x: m.split(x, [2, 10], axis=2), (X,)),
    ("split from the end", lambda m, x: m.split(x, [-2], axis=2), (X,)),
    ("split backwards", lambda m, x: m.split(x, [3, 1], axis=2), (X,)),
    ("tile one number", lambda m, x: m.tile(x, 2), (X,)),
    ("roll two", lambda m, x: m.roll(x, (-1, 1), axis=(0, 1)), (X,)),
    ("roll all axes", lambda m, x: m.roll(x, 1, axis=(0, 1)), (X,)),
    ("roll flat", lambda m, x: m.roll(x, 5), (X,)),
    ("repeat", lambda m, x: m.repeat(x, 2, axis=1), (X,)),
    ("tile", lambda m, x: m.tile(x, (2, 1, 3)), (X,)),
    ("tile more", lambda m, y: m.tile(y, (2, 2, 1)), (Y,)),
    ("pad", lambda m, x: m.pad(x, ((0, 1), (2, 0), (1, 1))), (X,)),
    ("pad one width", lambda m, y: m.pad(y, 2), (Y,)),
    ("diff", lambda m, x: m.diff(x, axis=1), (X,)),
    ("diff twice", lambda m, x: m.diff(x, n=2), (X,)),
    ("meshgrid", lambda m, x, y: m.meshgrid(x, y), (X[0, 0], Y[:, 0])),
    ("meshgrid ij", lambda m, x, y: m.meshgrid(x, y, indexing="ij"), (X[0, 0], Y[:, 0])),
    ("tril", lambda m, x: m.tril(x) + m.triu(x, k=1), (X,)),
    ("matmul", lambda m, x, n: x @ n, (X, N.T.astype(np.float32))),
    ("matmul batches", lambda m, x: m.matmul(x, m.matrix_transpose(x)), (X,)),
    ("matmul broadcast", lambda m, x, y: m.matmul(x[:, None], y), (X, X.transpose(0, 2, 1))),
    ("matmul vectors", lambda m, x: x[0, 0] @ x[0, 1], (X,)),
    ("matmul matrix vector", lambda m, x: x @ x[0, 0], (X,)),
    ("matmul vector matrix", lambda m, x: x[0, :, 0] @ x[0], (X,)),
    ("matmul vector matrices", lambda m, x: x[0, :, 0] @ x, (X,)),
    ("matmul of integers", lambda m, n: n @ n.T, (N,)),
    ("tensordot", lambda m, x: m.tensordot(x, x, axes=2), (X[:, :2, :2],)),
    ("tensordot axes", lambda m, x: m.tensordot(x, x, axes=([0, 2], [0, 2])), (X,)),
    ("vecdot", lambda m, x: m.vecdot(x, x), (X,)),
    ("outer", lambda m, x: m.linalg.outer(x[0, 0], x[0, 1]), (X,)),
    ("trace", lambda m, x: m.linalg.trace(x, offset=1), (X,)),
    ("einsum", lambda m, x, y: m.einsum("bij,jk->bki", x, y), (X, N.T.astype(np.float32))),
    ("einsum sums", lambda m, x: m.einsum("bij->j", x), (X,)),
    ("einsum batch", lambda m, x: m.einsum("bij,bkj->bik", x, x), (X,)),
    ("einsum outer", lambda m, x, y: m.einsum("i,j->ij", x[0, 0], y[:, 0]), (X, Y)),
    ("einsum sums one side", lambda m, x, y: m.einsum("bij,kl->bk", x, y), (X, Y)),
    ("norm", lambda m, x: m.linalg.vector_norm(x, axis=1, keepdims=True), (X,)),
    ("zeros", lambda m: m.zeros((2, 3), dtype=np.float32) + m.ones(3, dtype=np.float32), ()),
    ("full", lambda m: m.full((2,), 7), ()),
    ("full bool", lambda m: m.full((), True), ()),
    ("full_like", lambda m, n: m.full_like(n, 3) + m.zeros_like(n) + m.ones_like(n), (N,)),
    ("arange", lambda m: m.arange(5), ()),
    ("arange steps", lambda m: m.arange(10, -3, -3), ()),
    ("arange floats", lambda m: m.astype(m.arange(0.5, 3, 0.5), "float32"), ()),
    ("linspace", lambda m: m.astype(m.linspace(0, 1, 5), "float32"), ()),
    ("linspace open", lambda m: m.astype(m.linspace(0, 1, 5, endpoint=False), "float32"), ()),
    ("eye", lambda m: m.eye(3, 4, k=1, dtype=np.float32), ()),
    ("astype", lambda m, x: m.astype(x * 3, "int32"), (X,)),
]  # fmt: skip

NUMPY_NAMES = {"matmul", "outer", "trace", "vector_norm"}


def arrays(result: Any) -> list[np.ndarray]:
    return [np.asarray(r) for r in (result if isinstance(result, tuple | list) else [result])]


@pytest.mark.parametrize(("name", "function", "inputs"), CASES, ids=[c[0] for c in CASES])
def test_against_numpy(name: str, function: Any, inputs: tuple[np.ndarray, ...]) -> None:
    expected = arrays(function(np, *inputs))
    concrete = arrays(function(gx, *map(gx.asarray, inputs)))
    traced = arrays(gx.compile(lambda *xs: function(gx, *xs))(*inputs))
    for got in (concrete, traced):
        assert [(g.dtype, g.shape) for g in got] == [(e.dtype, e.shape) for e in expected]
        for g, e in zip(got, expected, strict=True):
            np.testing.assert_allclose(g, e, rtol=2e-5, atol=2e-6)


def test_concrete_and_traced_are_identical() -> None:
    f = lambda x: gx.mean(gx.exp(x) * 3 - x, axis=1)  # noqa: E731
    np.testing.assert_array_equal(f(gx.asarray(X)).numpy(), gx.compile(f)(X).numpy())


def test_one_hot() -> None:
    assert gx.one_hot(np.array([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_logsumexp() -> None:
    expected = np.log(np.exp(X.astype(np.float64)).sum(1))
    np.testing.assert_allclose(gx.logsumexp(X, axis=1).numpy(), expected, rtol=1e-6)
    assert gx.logsumexp(np.array([-np.inf, -np.inf], np.float32)).item() == -np.inf
    assert gx.logsumexp(np.array([1000.0, 1000.0], np.float32)).item() == pytest.approx(1000.6931)


def test_take_outside_raises_index_error_with_the_users_line() -> None:
    with pytest.raises(IndexError) as error:
        gx.compile(lambda x, i: gx.take(x, i, axis=0))(X, np.array([5]))
    assert error.value.where.text.startswith("gx.compile(lambda x, i: gx.take")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x + gx.ones(5),
        lambda x: gx.reshape(x, (5, 5)),
        lambda x: gx.reshape(x, (-1, -1)),
        lambda x: gx.sum(x, axis=3),
        lambda x: gx.sum(x, axis=(0, 0)),
        lambda x: gx.squeeze(x, axis=0),
        lambda x: gx.concat([x, x[0]]),
        lambda x: gx.permute_dims(x, (0, 1)),
        lambda x: gx.broadcast_to(x, (3, 4)),
        lambda x: x @ x,
        lambda x: gx.max(x[:0]),
        lambda x: gx.split(x, 5),
        lambda x: gx.roll(x, (1, 2, 3), axis=(0, 1)),
        lambda x: gx.concat([]),
        lambda x: gx.stack([]),
        lambda x: gx.tensordot(x, x, axes=9),
        lambda x: gx.linalg.diagonal(x[0, 0]),
        lambda x: gx.repeat(x, -1),
        lambda x: gx.tile(x, -1),
        lambda x: gx.sum(x, axis=True),
        lambda x: gx.reshape(x, (2.0, 12)),  # type: ignore[arg-type]
        lambda x: gx.pad(x, [(1, 1), (2,)]),  # type: ignore[arg-type]
        lambda x: gx.vecdot(x, x[..., :1]),
        lambda x: gx.linalg.outer(x[0], x[0, 0]),
        lambda x: gx.einsum("ii,ij->j", x[0], x[0]),
        lambda x: gx.zeros((2, -1)),
        lambda x: gx.unstack(x)[0].T.T.T[0].T,
    ],
)
def test_shape_errors_name_the_users_line(call: Any) -> None:
    for run in (lambda: call(gx.asarray(X)), lambda: gx.trace(call, X)):
        with pytest.raises(ShapeError) as error:
            run()
        assert error.value.where is not None and error.value.where.file == __file__


def test_dtype_errors() -> None:
    for call in (
        lambda: gx.asarray([True]) + gx.asarray([False]),
        lambda: gx.where(gx.ones(2), 1, 2),
        lambda: gx.ones(2) & gx.ones(2),
        lambda: gx.logical_and(gx.ones(2), True),
        lambda: gx.linspace(0, 1, 3, dtype="int32"),
        lambda: gx.ones(2) << 1,
        lambda: gx.full((2,), 1.5, dtype="int32"),
    ):
        with pytest.raises(DTypeError) as error:
            call()
        assert error.value.where is not None and error.value.where.file == __file__


def test_clip_keeps_the_bounds_values() -> None:
    assert gx.clip(np.array([100, 50], np.int8), max=np.int64(300)).tolist() == [100, 50]
    assert gx.clip(np.arange(3), np.float32(0.5)).tolist() == [0.5, 1, 2]
    assert gx.clip(np.array([100, 50], np.int8), 0, 60).dtype is gx.int8
    for bound in (np.float32("nan"), float("nan")):
        assert np.isnan(gx.clip(X, bound, 3).numpy()).all()
    assert np.isnan(gx.clip(np.array([np.nan], np.float32), 0, 1).item())


def test_products_of_small_integers_are_summed_in_wide_ones() -> None:
    a = np.full(300, 100, np.int8)
    assert gx.vecdot(a, a).item() == 3000000 and gx.vecdot(a, a).dtype is gx.int64
    assert gx.linalg.vector_norm(np.array([200, 100], np.int16)).item() == pytest.approx(223.6068)
    assert gx.vecdot(X, X[0, 0]).shape == (2, 3) and gx.vecdot(X, X[:, :, :1], axis=0).shape == (3, 4)


def test_variance_of_too_few_elements() -> None:
    x = np.arange(6, dtype=np.float32)
    assert gx.var(x, correction=10).item() == np.inf
    assert np.isnan(gx.std(x[:1], correction=1).item())


def test_numpy_integers_are_whole_numbers() -> None:
    n: Any = np.int64(2)
    first: Any = np.int64(0)
    cuts: Any = np.array([2])
    x = gx.asarray(np.arange(6, dtype=np.float32))
    assert gx.sum(x, axis=first).item() == 15
    assert gx.reshape(x, (n, 3)).shape == gx.zeros((n, 3)).shape == (2, 3)
    assert [len(part) for part in gx.split(x, cuts)] == [2, 4]
    assert [len(part) for part in gx.split(x, n)] == [3, 3]
    assert gx.expand_dims(x, axis=first).shape == (1, 6)
    assert gx.pad(x, n).shape == (10,) and gx.repeat(x, n).shape == (12,)
    assert gx.arange(n).tolist() == [0, 1] and gx.eye(n).shape == (2, 2)
    assert gx.roll(x, n).tolist() == [4, 5, 0, 1, 2, 3]
    assert gx.meshgrid() == []
