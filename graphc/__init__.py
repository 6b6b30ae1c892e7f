"""graphc: a compiled, graph-based deep-learning compiler.

    import graphc as gx

The array functions carry the names and signatures of the Python array API standard.
"""

# ruff: noqa: F401, I001 - every name is here to be imported from here, by subject

from . import imported  # first of all
from math import e, inf, nan, pi
from typing import TYPE_CHECKING

from .settings import Settings as _Settings, SettingsError as _SettingsError

try:  # before all else, so that a wrong GRAPHC_... is told without a dozen frames of imports
    _Settings.from_environment()
except _SettingsError as _error:
    _error.__traceback__ = None
    raise

from .types import (
    DType,
    TensorType,
    bfloat16,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from .types import bool_ as bool
from .errors import (
    AxisError,
    ArgumentError,
    CompileError,
    DTypeError,
    GraphcError,
    GraphcIndexError,
    NotFiniteError,
    OptionError,
    PackageError,
    PathError,
    ShapeError,
    TraceError,
    UnknownNameError,
    UnsupportedError,
)
from .ir import Graph
from .frontend.tensor import Tensor
from .frontend.variable import Variable
from .frontend.context import using
from .frontend.cumulative import (
    cumulative_max,
    cumulative_min,
    cumulative_prod,
    cumulative_sum,
    logcumsumexp,
)
from .frontend.devices import API_VERSIONS as _API_VERSIONS, namespace_info as __array_namespace_info__
from .frontend.spec import Spec, spec
from .frontend.trace import trace
from .frontend.gradients import grad, gradients, jvp, stop_gradient, value_and_grad, vjp
from .frontend.checkpoints import checkpoint
from .frontend.control import cond, fori_loop, scan, switch, while_loop
from .frontend.dtypes import can_cast, finfo, iinfo, isdtype, result_type
from .frontend.creation import (
    arange,
    asarray,
    astype,
    empty,
    empty_like,
    eye,
    from_dlpack,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    tril,
    triu,
    zeros,
    zeros_like,
)
from .frontend.unary import (
    abs,
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atanh,
    cbrt,
    ceil,
    cos,
    cosh,
    erf,
    erfc,
    exp,
    exp2,
    expm1,
    floor,
    isfinite,
    isinf,
    isnan,
    log,
    log1p,
    log2,
    log10,
    negative,
    positive,
    reciprocal,
    round,
    rsqrt,
    sigmoid,
    sign,
    signbit,
    sin,
    sinh,
    sqrt,
    square,
    tan,
    tanh,
    trunc,
)
from .frontend.binary import (
    add,
    atan2,
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    copysign,
    divide,
    equal,
    floor_divide,
    greater,
    greater_equal,
    hypot,
    less,
    less_equal,
    logaddexp,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    multiply,
    not_equal,
    pow,
    remainder,
    subtract,
)
from .frontend.reductions import (
    all,
    any,
    argmax,
    argmin,
    count_nonzero,
    logsumexp,
    max,
    mean,
    min,
    prod,
    std,
    sum,
    var,
)
from .frontend.searching import clip, one_hot, take, take_along_axis, where
from .frontend.sorting import argsort, searchsorted, sort, top_k
from .frontend.sets import isin, nonzero, unique_all, unique_counts, unique_inverse, unique_values
from .frontend.shapes import (
    broadcast_arrays,
    broadcast_shapes,
    broadcast_to,
    concat,
    diff,
    expand_dims,
    flip,
    matrix_transpose,
    meshgrid,
    moveaxis,
    pad,
    permute_dims,
    repeat,
    reshape,
    roll,
    split,
    squeeze,
    stack,
    swap_axes,
    tile,
    unstack,
)
from .frontend.linalg import einsum, matmul, outer, tensordot, vecdot
from .frontend.printing import print
from .driver.bench import bench
from .driver.compile import build, compile, load, thread_count
from .driver.executable import Executable
from . import linalg, nn, optim, random
from .frontend.words import Owner as _Place, unknown_in as _unknown_in

newaxis = None
__array_api_version__ = _API_VERSIONS[-1]

if not TYPE_CHECKING:  # for which every name would be there
    __getattr__ = _unknown_in(_Place.GX)
