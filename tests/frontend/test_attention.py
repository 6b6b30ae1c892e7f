"""`nn.scaled_dot_product_attention` is its formula, with every option, and gives nothing where nothing is seen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn
from graphc.errors import DTypeError, ShapeError

ROWS, FEW = (2, 4, 7, 3), (2, 2, 9, 3)


def formula(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None, causal: bool = False,
    window: int | None = None, scale: float | None = None,
) -> np.ndarray:  # fmt: skip
    times = q.shape[-3] // k.shape[-3] if q.ndim > 2 and k.ndim > 2 else 1
    k, v = (np.repeat(x, times, axis=-3) if times > 1 else x for x in (k, v))
    s = q @ np.swapaxes(k, -1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    i, j = np.indices(s.shape[-2:])
    seen = np.ones(s.shape, bool)
    if mask is not None and mask.dtype == bool:
        seen &= mask
    elif mask is not None:
        s = s + mask
    if causal:
        seen &= i >= j
    if window is not None:
        seen &= abs(i - j) < window
    s = np.where(seen, s, -np.inf)
    largest = s.max(-1, keepdims=True)
    e = np.exp(s - np.where(np.isinf(largest), 0, largest))
    total = e.sum(-1, keepdims=True)
    return e / np.where(total == 0, 1, total) @ v


def arrays(*shapes: tuple[int, ...], seed: int = 0) -> tuple[Any, Any, Any]:
    """Queries, keys and values."""
    rng = np.random.default_rng(seed)
    q, k, v = (rng.standard_normal(s) for s in shapes)
    return q, k, v


RNG = np.random.default_rng(3)
OPTIONS: dict[str, tuple[tuple[tuple[int, ...], ...], dict[str, Any]]] = {
    "plain": ((ROWS, (2, 4, 9, 3), (2, 4, 9, 5)), {}),
    "matrices": (((7, 3), (9, 3), (9, 2)), {"is_causal": True}),
    "broadcast": ((ROWS, (4, 9, 3), (2, 1, 9, 5)), {}),
    "causal": ((ROWS, ROWS, ROWS), {"is_causal": True}),
    "longer queries": (((2, 12, 3), (2, 5, 3), (2, 5, 3)), {"is_causal": True, "window": 3}),
    "window": ((ROWS, ROWS, ROWS), {"window": 2}),
    "scale": ((ROWS, ROWS, ROWS), {"scale": 0.3}),
    "groups": ((ROWS, FEW, FEW), {"enable_gqa": True}),
    "groups, mask": ((ROWS, FEW, FEW), {"enable_gqa": True, "attn_mask": RNG.random((2, 4, 7, 9)) < 0.7}),
    "groups, one mask": ((ROWS, FEW, FEW), {"enable_gqa": True, "attn_mask": RNG.random((2, 1, 7, 9)) < 0.7}),
    "bias": ((ROWS, ROWS, ROWS), {"attn_mask": RNG.standard_normal((4, 7, 7))}),
    "bias and causal": ((ROWS, ROWS, ROWS), {"attn_mask": RNG.standard_normal((7, 7)), "is_causal": True}),
    "keys": ((ROWS, ROWS, ROWS), {"attn_mask": RNG.random((2, 1, 1, 7)) < 0.5}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_it_is_the_formula(name: str) -> None:
    shapes, options = OPTIONS[name]
    xs = arrays(*shapes)
    own = {k: v for k, v in options.items() if k != "enable_gqa"}
    expected = formula(*xs, own.pop("attn_mask", None), own.pop("is_causal", False), **own)
    found = nn.scaled_dot_product_attention(*xs, **options)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)
    compiled = gx.compile(lambda *x: nn.scaled_dot_product_attention(*x, **options))(*xs)
    np.testing.assert_allclose(compiled.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", OPTIONS)
def test_gradients_are_slopes(name: str) -> None:
    shapes, options = OPTIONS[name]
    xs, steps = arrays(*shapes), arrays(*shapes, seed=1)
    weights = np.random.default_rng(2).standard_normal(nn.scaled_dot_product_attention(*xs, **options).shape)

    def loss(*given: Any) -> gx.Tensor:
        return gx.sum(nn.scaled_dot_product_attention(*given, **options) * weights)

    gradients = gx.grad(loss, argnums=(0, 1, 2))(*xs)
    for n, (gradient, step) in enumerate(zip(gradients, steps, strict=True)):
        sides = [loss(*xs[:n], xs[n] + sign * 1e-5 * step, *xs[n + 1 :]).item() for sign in (1, -1)]
        slope = (sides[0] - sides[1]) / 2e-5
        assert np.sum(gradient.numpy() * step) == pytest.approx(slope, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("kind", ["bools", "numbers", "window"])
def test_who_sees_nothing_gives_nothing(kind: str) -> None:
    """0, not NaN, and no gradient, whatever the others get."""
    mask: np.ndarray = np.arange(6)[:, None] + np.zeros((6, 6), int) != 2
    options: dict[str, Any] = {"attn_mask": mask}
    if kind == "numbers":
        options = {"attn_mask": np.where(mask, 0, -np.inf).astype("float32")}
    if kind == "window":  # queries beyond the keys
        options = {"window": 2, "is_causal": True}
    keys = (3, 4) if kind == "window" else (6, 4)
    q, k, v = (x.astype("float32") for x in arrays((6, 4), keys, keys))
    blind = [4, 5] if kind == "window" else [2]

    def both(*xs: Any) -> Any:
        o = nn.scaled_dot_product_attention(*xs, **options)
        return o, gx.gradients(gx.sum(o * o + o), list(xs))

    for backend in ("reference", "llvm"):
        o, gradients = gx.compile(both, backend=backend)(q, k, v)
        assert all(np.isfinite(x.numpy()).all() for x in (o, *gradients))
        assert not o.numpy()[blind].any() and not gradients[0].numpy()[blind].any()
        assert o.numpy()[0].any() and gradients[0].numpy().any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes_stay(dtype: str) -> None:
    q, k, v = (gx.asarray(x, dtype=dtype) for x in arrays(ROWS, ROWS, ROWS))
    found = nn.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert found.dtype is getattr(gx, dtype)
    tolerance = {"float16": 3e-3, "bfloat16": 2e-2, "float32": 1e-6}[dtype]
    a, b, c = (x.numpy().astype("float64") for x in (q, k, v))
    expected = formula(a, b, c, causal=True)
    np.testing.assert_allclose(found.numpy().astype("float64"), expected, atol=tolerance)


def test_dropout_keeps_what_is_expected() -> None:
    q, k, v = arrays((8, 2), (4000, 2), (4000, 3))
    v += 5
    full = nn.scaled_dot_product_attention(q, k, v).numpy()
    some = nn.scaled_dot_product_attention(q, k, v, dropout_p=0.3, generator=gx.random.Generator(1)).numpy()
    assert (some != full).all() and np.abs(some - full).max() < 0.6
    again = nn.scaled_dot_product_attention(q, k, v, dropout_p=0.3, generator=gx.random.Generator(1)).numpy()
    assert (some == again).all()
    assert not nn.scaled_dot_product_attention(q, k, v, dropout_p=1.0).numpy().any()


def test_gradients_drop_what_was_dropped() -> None:
    """The gradient of the values is the weights that were kept: known of a second function with the same numbers."""
    q, k, v = (x.astype("float32") for x in arrays((300, 4), (300, 4), (300, 4)))
    one, other = gx.random.Generator(5), gx.random.Generator(5)

    def loss(v: Any, generator: gx.random.Generator) -> Any:
        return gx.sum(nn.scaled_dot_product_attention(q, k, v, dropout_p=0.4, generator=generator))

    slope = gx.compile(lambda v: gx.grad(lambda v: loss(v, one))(v))(v)
    value = gx.compile(lambda v: loss(v, other))(v)  # which is linear in v
    assert np.sum(slope.numpy() * v, dtype="float64") == pytest.approx(value.item(), rel=1e-4)


@pytest.mark.parametrize(
    ("shapes", "options", "error", "text"),
    [
        (((7, 3), (9, 4), (9, 4)), {}, ShapeError, "equally long"),
        (((7, 3), (9, 3), (8, 3)), {}, ShapeError, "as many keys as values"),
        (((3,), (9, 3), (9, 3)), {}, ShapeError, r"queries \[..., L, E\]"),
        ((ROWS, FEW, FEW), {}, ShapeError, "enable_gqa=True"),
        (((3, 7, 3), (2, 9, 3), (2, 9, 3)), {"enable_gqa": True}, ShapeError, "multiple"),
        (((7, 3), (9, 3), (9, 3)), {"enable_gqa": True}, ShapeError, "heads are the axis before"),
        (((7, 3), (9, 3), (9, 3)), {"attn_mask": np.ones((7, 8), bool)}, ShapeError, "attn_mask broadcasts"),
        (((7, 3), (9, 3), (9, 3)), {"attn_mask": np.ones((7, 9), int)}, DTypeError, "bools, or of floats"),
        (((7, 3), (9, 3), (9, 3)), {"dropout_p": 2}, ValueError, "probability"),
        (((7, 3), (9, 3), (9, 3)), {"window": 0}, ValueError, "at least 1"),
    ],
)
def test_what_does_not_fit_is_told(shapes, options, error, text) -> None:
    with pytest.raises(error, match=text):
        nn.scaled_dot_product_attention(*arrays(*shapes), **options)
