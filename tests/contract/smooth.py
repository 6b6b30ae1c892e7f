"""Samples at which an op can be differentiated numerically, and which ops have a gradient at all."""

from __future__ import annotations

import numpy as np

from graphc.op import Kind, find_op
from graphc.ops.rules import no_gradient
from graphc.types import float64
from tests.contract.samples import MAKERS, Sample, samples_of

# Where an elementwise op is smooth, or at least steady, if not on all of [-2, 2].
INTERVALS = {
    **dict.fromkeys(["log", "log2", "log10", "sqrt", "rsqrt", "cbrt", "reciprocal", "power"], (0.3, 3.0)),
    **dict.fromkeys(["asin", "acos", "atanh", "log1p"], (-0.9, 0.9)),
    **dict.fromkeys(["acosh", "divide", "remainder", "floor_divide"], (1.1, 3.0)),
}

DIFFERENTIABLE = [name for name in MAKERS if find_op(name).vjp not in (None, no_gradient)]
# Constant wherever they are smooth; `stop_gradient` and `bitcast` only say so.
CONSTANT = [
    name for name in MAKERS if find_op(name).vjp is no_gradient and name not in ("stop_gradient", "bitcast")
]


def smooth_samples(name: str) -> list[Sample]:
    """Samples in float64 without edge cases, and elementwise ops on their intervals."""
    samples = samples_of(name, float64)
    if find_op(name).kind is not Kind.ELEMENTWISE:
        return [s for s in samples if s.arrays and all(np.isfinite(a).all() for a in s.arrays)]
    low, high = INTERVALS.get(name, (-2.0, 2.0))
    rng = np.random.default_rng(len(name))

    def inside(x: np.ndarray) -> np.ndarray:
        return rng.uniform(low, high, x.shape) if x.dtype == np.float64 else x

    return [Sample(s.op, tuple(inside(x) for x in s.arrays), s.attrs) for s in samples[:3]]
