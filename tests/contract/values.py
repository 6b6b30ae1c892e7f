"""Interesting values of each dtype, and how closely two results have to agree."""

from __future__ import annotations

import math

import numpy as np

from graphc import types
from graphc.types import DType

_FLOATS = (
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, -3.0, math.pi, 0.1, -0.3, 1e-3, 7.0, 20.0, -20.0,
    math.inf, -math.inf, math.nan,
)  # fmt: skip
_INTEGERS = (0, 1, -1, 2, -2, 3, -3, 5, 7, -7, 10, 63, 100, -100)


def special(dtype: DType) -> np.ndarray:
    """Edge cases of a dtype, with its extremes and, for floats, the least normal and subnormal numbers."""
    if dtype.is_bool:
        return np.array([False, True])
    if dtype.is_integer:
        low, high = int(dtype.min), int(dtype.max)
        inside = [v for v in (*_INTEGERS, low, low + 1, high - 1, high) if low <= v <= high]
        return np.array(inside, dtype.numpy)
    info = types_info(dtype)
    extremes = [info.max, -info.max, info.smallest_normal, -info.smallest_normal, info.smallest_subnormal]
    return np.concatenate([np.array(_FLOATS).astype(dtype.numpy), np.array(extremes, dtype.numpy)])


def types_info(dtype: DType) -> np.finfo:
    if dtype is types.bfloat16:
        import ml_dtypes

        return ml_dtypes.finfo(dtype.numpy)
    return np.finfo(dtype.numpy)


def ordinary(dtype: DType, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Small random values: floats of both signs around 1, integers from −4 (or 0) to 9."""
    rng = np.random.default_rng(seed)
    if dtype.is_bool:
        return np.asarray(rng.integers(0, 2, shape)).astype(bool)
    if dtype.is_integer:
        return np.asarray(rng.integers(-4 if dtype.is_signed else 0, 10, shape)).astype(dtype.numpy)
    return np.asarray(rng.normal(size=shape) * 1.5).astype(dtype.numpy)


def assert_close(
    got: np.ndarray, expected: np.ndarray, ulps: float, message: str, scale: np.ndarray | float = 0.0
) -> None:
    """Equal dtypes and shapes; integers and bools equal; floats within so many units in the last place of the
    larger one, of the smallest normal number, or of `scale`. NaN is NaN and infinity is infinity."""
    assert got.dtype == expected.dtype and got.shape == expected.shape, (
        f"{message}: {got.dtype}{got.shape} instead of {expected.dtype}{expected.shape}"
    )
    if got.dtype.kind in "biu":
        bad = got != expected
    else:
        info = types_info(types.as_dtype(got.dtype))
        a, b = got.astype(np.float64), expected.astype(np.float64)
        with np.errstate(all="ignore"):
            least = np.maximum(np.where(np.isfinite(scale), scale, 0), float(info.smallest_normal))
            size = np.maximum(np.maximum(np.abs(a), np.abs(b)), least)
            near = np.abs(a - b) <= ulps * float(info.eps) * size
            bad = ~((a == b) | (np.isnan(a) & np.isnan(b)) | (near & np.isfinite(a) & np.isfinite(b)))
    if bad.any():
        at = tuple(int(i[0]) for i in np.nonzero(bad))
        raise AssertionError(
            f"{message}: {int(bad.sum())} of {bad.size} differ, at {at}: {got[at]!r} instead of {expected[at]!r}"
        )
