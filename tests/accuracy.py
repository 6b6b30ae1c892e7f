"""How exact a function of floats is: samples that reach every exponent and special value, and errors in ULP.

The references are computed in a wider format: float64 for float32, and `longdouble` for float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from graphc.types import DType, float32

MANTISSA = {np.dtype(np.float32): 24, np.dtype(np.float64): 53}  # bits, with the implicit one

# Where algorithms change their ways: quarter turns, powers of two, the ends of the results' range.
_EDGES = np.array(
    [
        0.0,
        0.25,
        0.5,
        0.625,
        1.0,
        2.0,
        4.0,
        10.0,
        16.0,
        100.0,
        3.9,
        6400.0,
        2.0**-126,
        2.0**-149,
        3.4028234663852886e38,
    ]
    + [
        math.tan(math.pi / 8),
        math.sqrt(0.5),
        math.sqrt(2),
        2 / 3,
        4 / 3,
        3.92,
        9.0,
        88.72283,
        89.41599,
        103.97208,
    ]
    + [k * math.pi / 2 for k in range(1, 4200, 7)]
    + [k * math.log(2) / 2 for k in range(1, 300)]
)


def samples(dtype: DType, count: int, seed: int = 0) -> np.ndarray:
    """About `count` numbers: random bit patterns, uniform ones of several widths, edges with their neighbours."""
    rng = np.random.default_rng(seed)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    bits = rng.integers(0, 1 << dtype.bits, count // 2, dtype=unsigned).view(dtype.numpy)
    uniform = [
        rng.uniform(-w, w, count // 12).astype(dtype.numpy) for w in (1.0, 1.5, 5.0, 20.0, 110.0, 8000.0)
    ]
    return np.concatenate([bits, *uniform, _neighbours(dtype), specials(dtype)])


def _neighbours(dtype: DType) -> np.ndarray:
    around = _EDGES.astype(dtype.numpy).view(f"i{dtype.itemsize}")[:, None] + np.arange(-4, 5)
    edges = np.maximum(around, 0).ravel().astype(f"i{dtype.itemsize}").view(dtype.numpy)
    return np.concatenate([edges, -edges])


def specials(dtype: DType) -> np.ndarray:
    """Zeros, infinities, NaN, and the ends of the normal and subnormal numbers, with both signs."""
    info = np.finfo(dtype.numpy)
    positive = [0.0, 1.0, math.inf, float(info.max), float(info.tiny), float(info.smallest_subnormal)]
    return np.array([*positive, *(-p for p in positive), math.nan], dtype.numpy)


def pairs(dtype: DType, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """About `count` pairs: independent bit patterns, ordinary numbers, near ones, and every pair of special values."""
    rng = np.random.default_rng(seed)
    a, b = samples(dtype, count // 2, seed), samples(dtype, count // 2, seed + 1)
    positive = rng.uniform(0, 20, count // 4), rng.uniform(-30, 30, count // 4)
    near = rng.uniform(0.9, 1.1, count // 4), rng.uniform(-900, 900, count // 4)
    special = np.concatenate(
        [specials(dtype), np.array([2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 1e9, -1e9], dtype.numpy)]
    )
    grid = [g.ravel() for g in np.meshgrid(special, special)]
    xs, ys = zip((rng.permutation(a), rng.permutation(b)), positive, near, grid, strict=True)
    return np.concatenate(xs).astype(dtype.numpy), np.concatenate(ys).astype(dtype.numpy)


def wide(dtype: DType) -> np.dtype:
    """The format that references are computed in."""
    return np.dtype(np.float64) if dtype is float32 else np.dtype(np.longdouble)


def ulp_errors(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """|got − want| in units in the last place of `want`, which is of a wider format.

    Infinite where NaN, an infinity, or the sign of a zero is wrong.
    """
    with np.errstate(all="ignore"):
        rounded = want.astype(got.dtype)
        info = np.finfo(got.dtype)
        _, exponent = np.frexp(np.abs(want))
        exponent = np.clip(exponent, info.minexp + 1, info.maxexp) - MANTISSA[got.dtype]
        error = np.abs(got.astype(want.dtype) - want) * np.exp2(-exponent.astype(want.dtype))
        finite = np.isfinite(got) & np.isfinite(rounded)
        same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
        sign = (got != 0) | (want != 0) | (np.signbit(got) == np.signbit(want))
        return np.where(finite, np.where(sign, error, np.inf), np.where(same, 0.0, np.inf)).astype(np.float64)


def worst(
    run: Callable[..., np.ndarray],
    reference: Callable[..., np.ndarray],
    xs: Sequence[np.ndarray],
    dtype: DType,
) -> tuple[float, tuple[float, ...]]:
    """The largest error of `run` on the samples, in ULP, and where it is."""
    with np.errstate(all="ignore"):
        errors = ulp_errors(run(*xs), reference(*(x.astype(wide(dtype)) for x in xs)))
    at = int(np.argmax(errors))
    return float(errors[at]), tuple(float(x[at]) for x in xs)
