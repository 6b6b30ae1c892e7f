"""All of graphc's own ops, each one declaration. Importing this module declares them.

The modules import one another through this one, since gradient rules speak of ops from everywhere.
"""

# ruff: noqa: F401 - every name is here to be imported from here

from functools import cache as _cache

from ..op import Op as _Op
from .arithmetic import (
    abs,
    add,
    cbrt,
    ceil,
    copysign,
    difference,
    divide,
    floor,
    floor_divide,
    hypot,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    reciprocal,
    remainder,
    round,
    rsqrt,
    sign,
    sqrt,
    square,
    subtract,
    trunc,
)
from .bits import (
    bitcast,
    bitwise_and,
    bitwise_invert,
    bitwise_or,
    bitwise_xor,
    cast,
    convert,
    left_shift,
    right_shift,
)
from .branches import switch
from .contraction import dot_general
from .control import item, stop_gradient
from .cumulative import (
    cumulative_max,
    cumulative_min,
    cumulative_prod,
    cumulative_sum,
    linear_recurrence,
    logcumsumexp,
)
from .error_function import erf, erfc, normal_cdf
from .indexed import gather, pick, scatter_add
from .logic import (
    equal,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
    select,
    signbit,
)
from .loops import scan, while_loop
from .random import philox
from .recompute import checkpoint, delay
from .reductions import all, any, argmax, argmin, max, min, prod, sum
from .sorting import sort, top_k
from .sources import constant, input, iota, variable
from .transcendental import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    cos,
    cosh,
    exp,
    exp2,
    expm1,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    sigmoid,
    sin,
    sinh,
    tan,
    tanh,
)
from .values import (
    array_constant,
    converted,
    full,
    full_like,
    masked,
    ones_like,
    permuted,
    reshaped,
    scalar_constant,
    scaled,
    unreduced,
    zeros_like,
)
from .views import broadcast, concat, flip, pad, permute, reshape, slice


@_cache
def own() -> frozenset[_Op]:
    """graphc's own ops, whose meaning changes with graphc only; others may be declared anew in each process."""
    return frozenset(x for x in globals().values() if isinstance(x, _Op))
