"""The transcendental primitives as recipes over the simple ones, so that kernels call no libm.

In: a primitive and a dtype. Out: a straight-line recipe, the same for scalars and vectors of every width. Error
bounds (ULP, over all 2³² float32 inputs) stand beside each function in this package; tests hold them to it.
"""

from __future__ import annotations

from functools import lru_cache

from graphc.scalar import Prim, Recipe, ScalarFunction, record
from graphc.types import DType, float32

from .exponential import exp, exp2, log, log2
from .probability import erf
from .trigonometric import cos, sin

_SINGLE: dict[Prim, ScalarFunction] = {
    Prim.EXP: exp,
    Prim.EXP2: exp2,
    Prim.LOG: log,
    Prim.LOG2: log2,
    Prim.SIN: sin,
    Prim.COS: cos,
    Prim.ERF: erf,
}


@lru_cache(maxsize=64)
def expansion(prim: Prim, dtype: DType) -> Recipe | None:
    """The recipe that computes `prim`, or None where the backend should call libm (float64)."""
    function = _SINGLE.get(prim)
    return record(prim.text, function, (dtype,)) if function is not None and dtype is float32 else None
