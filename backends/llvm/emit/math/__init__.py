"""The transcendental primitives as recipes over the simple ones, so that kernels call no libm.

In: a primitive and a dtype. Out: a straight-line recipe, the same text for scalars and for vectors of every width,
and where it pays a second one for rare arguments. tests/backends/llvm/test_math.py states the errors in ULP.
"""

from __future__ import annotations

from functools import lru_cache

from graphc.dataclass import dataclass
from graphc.scalar import Prim, Recipe, record
from graphc.types import DType, float32

from .error_function import erf
from .exponential import exp, exp2, exp2_parts, exp_parts, log, log2
from .trigonometric import USUAL_FUSED, USUAL_ROUNDED, cos, cos_far, is_usual, sin, sin_far


@dataclass(frozen=True)
class Rare:
    """A recipe for the arguments for which `is_usual` is false; worth a branch that skips it."""

    is_usual: Recipe
    recipe: Recipe


@dataclass(frozen=True)
class Expansion:
    """How a primitive is computed: `usual`, and `rare` where that does not hold. `is_power`: the recipe gives
    (p, k, m), and what is computed is p·2ᵏ where the mask m holds, else 0; k is a whole number."""

    usual: Recipe
    rare: Rare | None = None
    is_power: bool = False


_EITHER = {Prim.EXP: exp, Prim.EXP2: exp2, Prim.LOG: log, Prim.LOG2: log2}
_POWERS = {Prim.EXP: exp_parts, Prim.EXP2: exp2_parts}
_REDUCED = {Prim.SIN: (sin, sin_far), Prim.COS: (cos, cos_far)}


@lru_cache(maxsize=64)
def expansion(prim: Prim, dtype: DType, fused: bool, scales: bool = False) -> Expansion | None:
    """How to compute `prim`, or None where the backend should call libm: sin, cos and erf of float64.

    `fused`: FMA rounds once on the target. Without that the results are up to 1 ULP less exact. `scales`: there is an
    instruction for p·2ᵏ that rounds once. The results are the same, in a third fewer instructions. It is masked where
    the result is 0: Intel's takes 200 cycles for what is smaller than normal numbers, as exp(-inf) of masked scores.
    """
    if scales and prim in _POWERS:
        return Expansion(record(prim.text, _POWERS[prim], (dtype,)), is_power=True)
    if prim in _EITHER:
        return Expansion(record(prim.text, _EITHER[prim], (dtype,)))
    if dtype is not float32:
        return None
    if prim is Prim.ERF:
        return Expansion(record(prim.text, erf, (dtype,)))
    near, far = _REDUCED[prim]
    limit = {"limit": USUAL_FUSED if fused else USUAL_ROUNDED}
    rare = Rare(record("is_usual", is_usual, (dtype,), limit), record(prim.text, far, (dtype,)))
    return Expansion(record(prim.text, near, (dtype,)), rare)
