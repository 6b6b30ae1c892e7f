"""Attention, written with array functions. That it becomes kernels which hold no scores in memory is the passes' work,
who find it in what people write by themselves as well."""

from __future__ import annotations

import math

from graphc.errors import ShapeError
from graphc.types import int64

from ..binary import add, equal, greater_equal, less, logical_and, multiply, subtract
from ..creation import iota
from ..emit import (
    ArrayLike,
    as_tensor,
    broadcast_shape,
    cast,
    float_dtype,
    operands,
    operation,
    require,
    stretch,
    whole,
)
from ..gradients import stop_gradient
from ..linalg import einsum, matmul
from ..numbers import NumberError, finite, probability
from ..random import Generator, bernoulli
from ..reductions import max, sum
from ..searching import where
from ..shapes import expand_dims, matrix_transpose, reshape
from ..tensor import Tensor
from ..unary import exp, reciprocal


@operation
def scaled_dot_product_attention(
    query: ArrayLike, key: ArrayLike, value: ArrayLike, /, attn_mask: ArrayLike | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False, *, window: int | None = None,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """softmax(query keyᵀ · scale) value: for queries [..., L, E], keys [..., S, E] and values [..., S, V], [..., L, V].

    The axes before broadcast. `scale` is 1 / √E, if not given. What a query sees may be limited, by all of these that
    are given: `attn_mask`, bools [..., L, S], is True where a key counts, numbers are added to the scores instead;
    `is_causal` leaves query i the keys j ≤ i, `window` those with |i − j| < window. A query that sees no key gives
    0, and no gradient. `dropout_p` is the probability with which a weight is dropped, and those kept are scaled by
    1 / (1 − p); pass 0 where nothing is to be trained.

    With `enable_gqa`, the third last axis are heads, and groups of the queries' heads share one of the keys and values,
    which are not repeated for it. 16-bit floats are multiplied as such, and all else is float32; raises ShapeError for
    axes that do not fit each other.
    """
    q, k, v = operands(query, key, value, dtype=float_dtype(query, key, value))
    _check(q, k, v, enable_gqa)
    p, factor, window = probability(dropout_p), _scale(scale, q.shape[-1]), _window(window)
    if not enable_gqa:
        leading = broadcast_shape(q.shape[:-2], k.shape[:-2], v.shape[:-2])
        q, k, v = (stretch(x, leading + x.shape[-2:]) for x in (q, k, v))
        scores = multiply(matmul(q, matrix_transpose(k), dtype=q.dtype.computes_as), factor)
    else:
        q, k, v, names = _grouped(q, k, v)
        product = einsum(f"{names}xyid,{names}xjd->{names}xyij", q, k, dtype=q.dtype.computes_as)
        scores = multiply(product, factor)
    bias, seen = _masks(attn_mask, scores, is_causal, window, enable_gqa)
    weights, inverse = _weights(scores, bias, seen)
    if p > 0:
        kept = bernoulli(1.0 - p, weights.shape, generator=generator) if p < 1 else False
        weights, inverse = where(kept, weights, 0.0), multiply(inverse, 1.0 / (1.0 - p) if p < 1 else 0.0)
    weights = cast(weights, v.dtype)
    if not enable_gqa:
        return cast(multiply(matmul(weights, v, dtype=q.dtype.computes_as), inverse), q.dtype)
    product = einsum(f"{names}xyij,{names}xjc->{names}xyic", weights, v, dtype=q.dtype.computes_as)
    *first, heads, groups, rows, columns = product.shape
    return reshape(cast(multiply(product, inverse), q.dtype), (*first, heads * groups, rows, columns))


def _weights(scores: Tensor, bias: Tensor | None, seen: Tensor | None) -> tuple[Tensor, Tensor]:
    """exp(scores − their maximum) and 1 / their sum, of each query; where it sees nothing, all is 0."""
    if bias is not None:
        scores = add(scores, bias)
    if seen is not None:
        scores = where(seen, scores, -math.inf)
    largest = stop_gradient(max(scores, axis=-1, keepdims=True))
    if bias is None and seen is None:
        weights = exp(subtract(scores, largest))
        return weights, reciprocal(sum(weights, axis=-1, keepdims=True))
    weights = exp(subtract(scores, where(equal(largest, -math.inf), 0.0, largest)))
    total = sum(weights, axis=-1, keepdims=True)
    return weights, reciprocal(where(equal(total, 0.0), 1.0, total))


def _masks(
    mask: ArrayLike | None, scores: Tensor, is_causal: bool, window: int | None, grouped: bool
) -> tuple[Tensor | None, Tensor | None]:
    """What is added to the scores, and which of them count."""
    rows, columns = scores.shape[-2:]
    given = None if mask is None else _fitting(as_tensor(mask), scores, grouped)
    bias, seen = (None, given) if given is not None and given.dtype.is_bool else (given, None)
    i, j = expand_dims(iota(rows, int64), 1), expand_dims(iota(columns, int64), 0)
    if is_causal:
        seen = _both(seen, greater_equal(i, j))
    if window is not None:
        within = logical_and(less(subtract(i, j), window), less(subtract(j, i), window))
        seen = _both(seen, less(subtract(i, j), window) if is_causal else within)
    return None if bias is None else cast(bias, scores.dtype), seen


def _both(seen: Tensor | None, more: Tensor) -> Tensor:
    return more if seen is None else logical_and(seen, more)


def _fitting(mask: Tensor, scores: Tensor, grouped: bool) -> Tensor:
    """A mask with heads in groups, where scores have them so. Raises ShapeError where it does not broadcast."""
    shape = scores.shape
    if grouped:
        shape = (*shape[:-4], shape[-4] * shape[-3], *shape[-2:])
    require(mask.dtype, mask.dtype.is_bool or mask.dtype.is_float, "nn.scaled_dot_product_attention", _MASKS)
    if mask.ndim > len(shape) or any(n not in (1, m) for n, m in zip(mask.shape[::-1], shape[::-1], strict=False)):
        raise ShapeError("attn_mask broadcasts to the scores, [..., L, S]", got=f"{mask.type} for {list(shape)}")
    if not grouped or mask.ndim < 3:
        return mask
    heads = scores.shape[-4:-2] if mask.shape[-3] > 1 else (1, 1)
    return reshape(mask, (*mask.shape[:-3], *heads, *mask.shape[-2:]))


_MASKS = "an attn_mask of bools, or of floats that are added"


def _scale(scale: float | None, depth: int) -> float:
    return 1.0 / math.sqrt(depth) if scale is None and depth else 1.0 if scale is None else finite(scale, "scale")


def _window(window: int | None) -> int | None:
    """Raises NumberError for what is no number of keys."""
    rule = "window is a number of keys, at least 1"
    if window is not None and (number := whole(window, rule)) < 1:
        raise NumberError(rule, got=str(number))
    return window


def _check(q: Tensor, k: Tensor, v: Tensor, grouped: bool) -> None:
    """Raises ShapeError for axes that do not fit each other."""
    rule, hint = "", None
    least = 3 if grouped else 2
    if min(q.ndim, k.ndim, v.ndim) < least:
        rule = "attention needs queries [..., L, E], keys [..., S, E] and values [..., S, V]"
        hint = "with enable_gqa, heads are the axis before these" if grouped else None
    elif q.shape[-1] != k.shape[-1]:
        rule = "queries and keys are multiplied along their last axes, which are equally long"
    elif k.shape[-2] != v.shape[-2]:
        rule = "there are as many keys as values"
    elif grouped and (k.shape[:-2] != v.shape[:-2] or q.shape[:-3] != k.shape[:-3]):
        rule = "with enable_gqa, the axes before heads are those of queries, keys and values alike"
    elif grouped and (not k.shape[-3] or q.shape[-3] % k.shape[-3]):
        rule = "with enable_gqa, the number of the queries' heads is a multiple of that of the keys'"
    elif not grouped:
        try:
            broadcast_shape(q.shape[:-2], k.shape[:-2], v.shape[:-2])
        except ShapeError:
            rule = "the axes before the last two broadcast"
            hint = "enable_gqa=True lets groups of the queries' heads share keys and values"
    if rule:
        raise ShapeError(rule, got=f"{q.type}, {k.type} and {v.type}", hint=hint)


def _grouped(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, str]:
    """Queries with their heads as two axes, the keys' heads and those of a group; and names of the axes before."""
    *first, heads, rows, depth = q.shape
    own = k.shape[-3]
    return reshape(q, (*first, own, heads // own, rows, depth)), k, v, "abefghklmnop"[: len(first)]
