"""Functions of networks: activations, softmax, normalization, dropout.

Each is written with array functions, so it has a gradient and fuses with its neighbours; none is an op.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import Enum

import numpy as np

from graphc import ops
from graphc.errors import option

from ..binary import (
    add,
    copysign,
    divide,
    greater,
    greater_equal,
    less,
    less_equal,
    logaddexp,
    multiply,
    subtract,
)
from ..creation import as_shape
from ..emit import ArrayLike, as_tensor, cast, emit, float_dtype, operation, rounded_once, wide
from ..numbers import probability
from ..random import Generator, bernoulli
from ..recorded import recorded
from ..reductions import below_largest, mean, sum
from ..searching import where
from ..shapes import split
from ..tensor import Tensor
from ..unary import abs, exp, expm1, log, negative, reciprocal, rsqrt, square
from ..unary import sigmoid as sigmoid
from ..unary import tanh as tanh


class Approximation(Enum):
    """How gelu computes the normal distribution."""

    NONE = "none"
    TANH = "tanh"


@recorded
def relu(x: ArrayLike, /) -> Tensor:
    """max(x, 0); NaN stays, the gradient at 0 is 0."""
    x = as_tensor(x)
    return where(less_equal(x, 0), 0, x)


@recorded
def relu6(x: ArrayLike, /) -> Tensor:
    """min(max(x, 0), 6); the gradient at both ends is 0."""
    x = as_tensor(x)
    return where(greater_equal(x, 6), 6, relu(x))


@recorded
def leaky_relu(x: ArrayLike, /, negative_slope: float = 0.01) -> Tensor:
    """x, and negative_slope · x below 0; the gradient at 0 is negative_slope."""
    x = cast(as_tensor(x), float_dtype(x))
    return where(greater(x, 0), x, multiply(x, negative_slope)) if negative_slope else relu(x)


@recorded
@rounded_once
def elu(x: ArrayLike, /, alpha: float = 1.0) -> Tensor:
    """x, and alpha · (exp(x) − 1) below 0; −alpha at −inf. The gradient at 0 is alpha."""
    x = wide(x)
    below = where(greater(x, 0), 0.0, x)  # expm1 would overflow above, and inf · 0 in the gradient be NaN
    return where(greater(x, 0), x, multiply(expm1(below), alpha))


@recorded
@rounded_once
def selu(x: ArrayLike, /) -> Tensor:
    """The self-normalizing elu of Klambauer and others, 2017."""
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    return multiply(elu(x, alpha), scale)


@recorded
@rounded_once
def gelu(x: ArrayLike, /, approximate: str = "none") -> Tensor:
    """x · Φ(x), Φ the normal distribution; with approximate="tanh", Hendrycks and Gimpel's approximation of it,
    x/2 · (1 + tanh u) = x · sigmoid(2u).

    Exact also where it is tiny, on the left; 0 at −inf, and the gradient there 0 and at inf 1.
    """
    if option(Approximation, approximate, "approximate") is Approximation.NONE:
        return _gated(wide(x), lambda x: emit(ops.normal_cdf, x), -40.0, 40.0)
    scale = 2 * math.sqrt(2 / math.pi)

    def gate(x: Tensor) -> Tensor:
        return sigmoid(multiply(x, add(multiply(square(x), 0.044715 * scale), scale)))

    return _gated(wide(x), gate, -40.0, 40.0)


def _gated(x: Tensor, gate: Callable[[Tensor], Tensor], low: float, high: float) -> Tensor:
    """x · gate(x), also where x is infinite or huge; the gate is 0 below `low`, and 1 above `high`.

    Its argument stays between them, so that neither inf · 0 nor an infinite inner slope times 0 is ever met.
    """
    x = where(less(x, low), low, x)
    return multiply(x, gate(where(greater(x, high), high, x)))


@recorded
@rounded_once
def silu(x: ArrayLike, /) -> Tensor:
    """x · sigmoid(x); 0 at −inf, and the gradient there 0 and at inf 1."""
    return _gated(wide(x), sigmoid, -1000.0, 1000.0)


@recorded
@rounded_once
def mish(x: ArrayLike, /) -> Tensor:
    """x · tanh(softplus(x)); 0 at −inf, and the gradient there 0 and at inf 1."""

    def gate(x: Tensor) -> Tensor:
        """tanh(log(1 + e)) = ((1 + e)² − 1) / ((1 + e)² + 1) for e = exp(x)."""
        e = exp(x)
        n = multiply(e, add(e, 2.0))
        return divide(n, add(n, 2.0))

    return _gated(wide(x), gate, -1000.0, 20.0)


@recorded
@rounded_once
def softplus(x: ArrayLike, /, beta: float = 1.0) -> Tensor:
    """log(1 + exp(beta · x)) / beta, without overflow; 0 at −inf, and x where it is large."""
    x = wide(x)
    if beta == 1:
        return logaddexp(x, 0.0)  # not with |x|, whose gradient at 0 is none
    reach = 1000.0 / beta  # beyond, beta · x might overflow
    inside = where(greater(x, reach), reach, x)
    return where(greater(x, reach), x, divide(logaddexp(multiply(inside, beta), 0.0), beta))


@recorded
@rounded_once
def log_sigmoid(x: ArrayLike, /) -> Tensor:
    """log(sigmoid(x)), without overflow; x at −inf, and 0 at inf."""
    return negative(softplus(negative(wide(x))))


@recorded
@rounded_once
def softsign(x: ArrayLike, /) -> Tensor:
    """x / (1 + |x|); ±1 at ±inf. The gradient, 1 / (1 + |x|)², is exact far out as well."""
    x = wide(x)
    distance = abs(x)
    inverse = reciprocal(add(distance, 1.0))
    near = less(distance, 1.0)
    # Far out as ±(1 − inverse): of the quotient's two slopes hardly anything would be left, and at infinity NaN.
    far = multiply(copysign(1.0, x), subtract(1.0, inverse))
    return where(near, multiply(where(near, x, 0.0), inverse), far)


@recorded
@rounded_once
def hard_sigmoid(x: ArrayLike, /) -> Tensor:
    """0 below −3, 1 above 3, x / 6 + 1/2 between; the gradient at both ends is 0."""
    return divide(relu6(add(wide(x), 3.0)), 6.0)


@recorded
@rounded_once
def hard_swish(x: ArrayLike, /) -> Tensor:
    """x · hard_sigmoid(x); 0 at −inf. The gradient at −3 is 0, and at 3 it is 1."""
    x = wide(x)
    return multiply(where(less(x, -3.0), -3.0, x), hard_sigmoid(x))


@recorded
def hard_tanh(x: ArrayLike, /, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x, but at least min_val and at most max_val; the gradient at both ends is 0."""
    x = as_tensor(x)
    return where(less_equal(x, min_val), min_val, where(greater_equal(x, max_val), max_val, x))


@recorded
def glu(x: ArrayLike, /, axis: int = -1) -> Tensor:
    """The first half along an axis times the sigmoid of the second."""
    first, second = split(x, 2, axis=axis)
    return multiply(first, sigmoid(second))


@recorded
@rounded_once
def softmax(x: ArrayLike, /, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along an axis. The largest element is taken out first, so nothing overflows.

    −inf gives 0. Where the largest element is infinite, all that equal it share evenly: [inf, 0] gives [1, 0], and a
    row of −inf alone, where every element is masked, gives 1/n each.
    """
    weights = exp(below_largest(wide(x), axis)[0])
    # The sum is at least 1, so its reciprocal is safe; one division a row instead of one an element.
    return multiply(weights, reciprocal(sum(weights, axis=axis, keepdims=True)))


@recorded
@rounded_once
def log_softmax(x: ArrayLike, /, axis: int = -1) -> Tensor:
    """log(softmax(x)), exact also where softmax rounds to 0; infinite elements as in softmax."""
    shifted, _ = below_largest(wide(x), axis)
    return subtract(shifted, log(sum(exp(shifted), axis=axis, keepdims=True)))


def last_sizes(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    """The sizes that layer_norm is told, also as an integer of NumPy's. Raises ShapeError for negative ones."""
    return as_shape(int(normalized_shape) if isinstance(normalized_shape, np.integer) else normalized_shape)


@recorded
def layer_norm(
    x: ArrayLike, /, normalized_shape: int | Sequence[int], weight: ArrayLike | None = None,
    bias: ArrayLike | None = None, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """(x − mean) / sqrt(variance + eps) over the last axes, then · weight + bias (Ba and others, 2016).

    Where the variance overflows, of float32 numbers beyond 10¹⁹, the result is NaN, and not the 0 of 1 / sqrt(inf).
    """
    own = float_dtype(x, *(p for p in (weight, bias) if p is not None))
    x = as_tensor(x)
    shape = last_sizes(normalized_shape)
    if x.shape[len(x.shape) - len(shape) :] != shape:
        from graphc.errors import ShapeError

        raise ShapeError(f"layer_norm over {shape} takes inputs whose last axes are these", got=str(x.type))
    x, axes = wide(x), tuple(range(-len(shape), 0))
    centered = subtract(x, mean(x, axis=axes, keepdims=True))
    variance = add(mean(square(centered), axis=axes, keepdims=True), eps)
    result = multiply(centered, where(less(variance, math.inf), rsqrt(variance), math.nan))
    result = result if weight is None else multiply(result, weight)
    return cast(result if bias is None else add(result, bias), own)


@operation
def dropout(
    x: ArrayLike, /, p: float = 0.5, training: bool = True, *, generator: Generator | None = None
) -> Tensor:
    """While training, each element is 0 with probability p, and the others are scaled by 1 / (1 − p).

    What is dropped is 0 and gets no gradient, also where x is infinite or NaN.
    """
    p = probability(p)
    x = as_tensor(x)
    if not training or p == 0:
        return x
    x = cast(x, float_dtype(x))
    if p == 1:
        return where(False, x, 0.0)
    return where(bernoulli(1.0 - p, x.shape, generator=generator), multiply(x, 1.0 / (1.0 - p)), 0.0)
