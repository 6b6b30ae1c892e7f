"""Programs with attention in them, as people write it: for the passes, and for backends."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as gx
from graphc import nn

T, D, HEADS, BATCH = 40, 8, 4, 2


@dataclass(frozen=True)
class Program:
    """A function and the shapes of its arguments, float32 but for masks; it is differentiated by the first `gradients`
    of them, weighted with an argument more that has the result's shape."""

    function: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    gradients: int = 3
    dtype: str = "float32"

    def arguments(self, seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        return [
            (rng.standard_normal(s) * scale).astype(self.dtype)
            for s, scale in zip(self.shapes, self._scales(), strict=True)
        ]

    def _scales(self) -> tuple[float, ...]:
        """Weights are such that what they make is as large as what they are given."""
        return tuple(s[-2] ** -0.5 if len(s) > 1 and s[0] != BATCH else 1 for s in self.shapes)

    def backward(self) -> Callable[..., Any]:
        """From the arguments and the weights of the result to the gradients."""

        def gradient(*args: Any) -> Any:
            *given, weights = args

            def loss(*wanted: Any) -> Any:
                return gx.sum(self.function(*wanted, *given[self.gradients :]) * weights)

            return gx.grad(loss, argnums=tuple(range(self.gradients)))(*given[: self.gradients])

        return gradient


def scores(q: Any, k: Any) -> Any:
    return q @ gx.matrix_transpose(k) * (1 / math.sqrt(q.shape[-1]))


def plain(q: Any, k: Any, v: Any) -> Any:
    return nn.softmax(scores(q, k), axis=-1) @ v


def seen(q: Any, k: Any, window: int | None = None) -> Any:
    i, j = gx.arange(q.shape[-2])[:, None], gx.arange(k.shape[-2])[None, :]
    mask = i >= j
    return mask if window is None else gx.logical_and(mask, i - j < window)


def causal(q: Any, k: Any, v: Any) -> Any:
    return nn.softmax(gx.where(seen(q, k), scores(q, k), -math.inf), axis=-1) @ v


def windowed(q: Any, k: Any, v: Any) -> Any:
    return nn.softmax(gx.where(seen(q, k, 7), scores(q, k), -math.inf), axis=-1) @ v


def by_hand(q: Any, k: Any, v: Any) -> Any:
    s = gx.where(seen(q, k), scores(q, k), -1e30)
    e = gx.exp(s - gx.max(s, axis=-1, keepdims=True))
    return (e / gx.sum(e, axis=-1, keepdims=True)) @ v


def by_logsumexp(q: Any, k: Any, v: Any) -> Any:
    s = scores(q, k)
    return gx.exp(s - gx.logsumexp(s, axis=-1, keepdims=True)) @ v


def biased(q: Any, k: Any, v: Any, bias: Any) -> Any:
    return nn.softmax(scores(q, k) + bias, axis=-1) @ v


def slopes(q: Any, k: Any, v: Any, slope: Any) -> Any:
    """ALiBi: a bias that is a head's slope times the distance."""
    i, j = gx.arange(q.shape[-2])[:, None], gx.arange(k.shape[-2])[None, :]
    distance = gx.astype(j - i, gx.float32)
    s = gx.where(i >= j, scores(q, k) + slope[:, None, None] * distance, -math.inf)
    return nn.softmax(s, axis=-1) @ v


def padded(q: Any, k: Any, v: Any, keys: Any) -> Any:
    """Some keys of each batch do not count."""
    return nn.softmax(gx.where((keys > -1)[:, None, None, :], scores(q, k), -math.inf), axis=-1) @ v


def repeated(q: Any, k: Any, v: Any) -> Any:
    times = q.shape[1] // k.shape[1]
    return causal(q, gx.repeat(k, times, axis=1), gx.repeat(v, times, axis=1))


def grouped(q: Any, k: Any, v: Any) -> Any:
    """Heads that share keys, as an axis of their own."""
    b, h, t, d = q.shape
    grouped = gx.reshape(q, (b, k.shape[1], h // k.shape[1], t, d))
    s = gx.einsum("bxyid,bxjd->bxyij", grouped, k) * 0.3
    return gx.reshape(gx.einsum("bxyij,bxjd->bxyid", nn.softmax(s, axis=-1), v), (b, h, t, d))


def packed(x: Any, w: Any) -> Any:
    """Queries, keys and values of one product, heads side by side, as in a block of a transformer."""
    b, t, _ = x.shape
    qkv = gx.permute_dims(gx.reshape(x @ w, (b, t, 3, HEADS, D)), (2, 0, 3, 1, 4))
    o = causal(qkv[0], qkv[1], qkv[2])
    return gx.reshape(gx.permute_dims(o, (0, 2, 1, 3)), (b, t, HEADS * D))


def rematerialized(q: Any, k: Any, v: Any) -> Any:
    return gx.checkpoint(causal)(q, k, v)


def function(**options: Any) -> Callable[..., Any]:
    """The function that people find in nn, with a mask as its fourth argument if it has one."""
    return lambda q, k, v, *mask: nn.scaled_dot_product_attention(q, k, v, *mask, **options)


def masked(q: Any, k: Any, v: Any, keys: Any) -> Any:
    """The first query of all sees nothing."""
    i = gx.arange(q.shape[-2])[:, None]
    seen = gx.logical_and((keys > -1)[:, None, None, :], i > 0)
    return nn.scaled_dot_product_attention(q, k, v, seen)


def layers(x: Any, ws: Any) -> Any:
    """A loop over layers."""
    return gx.scan(lambda x, w: (x + packed(x, w), None), x, ws)[0]


ROWS = (BATCH, HEADS, T, D)
FEW = (BATCH, 2, T, D)
WIDE = (BATCH, T, HEADS * D)

PROGRAMS = {
    "plain": Program(plain, (ROWS, ROWS, ROWS)),
    "causal": Program(causal, (ROWS, ROWS, ROWS)),
    "windowed": Program(windowed, (ROWS, ROWS, ROWS)),
    "other lengths": Program(causal, ((BATCH, HEADS, T - 3, D), (BATCH, HEADS, T + 9, D), (BATCH, HEADS, T + 9, 5))),
    "one head": Program(causal, ((T, D), (T, D), (T, D))),
    "by hand": Program(by_hand, (ROWS, ROWS, ROWS)),
    "by logsumexp": Program(by_logsumexp, (ROWS, ROWS, ROWS)),
    "biased": Program(biased, (ROWS, ROWS, ROWS, (HEADS, T, T))),
    "slopes": Program(slopes, (ROWS, ROWS, ROWS, (HEADS,))),
    "padded": Program(padded, (ROWS, ROWS, ROWS, (BATCH, T))),
    "repeated": Program(repeated, (ROWS, FEW, FEW)),
    "grouped": Program(grouped, (ROWS, FEW, FEW)),
    "packed": Program(packed, (WIDE, (HEADS * D, 3 * HEADS * D)), 2),
    "rematerialized": Program(rematerialized, (ROWS, ROWS, ROWS)),
    "layers": Program(layers, (WIDE, (3, HEADS * D, 3 * HEADS * D)), 2),
    "function": Program(function(), (ROWS, ROWS, ROWS)),
    "function, causal": Program(function(is_causal=True), (ROWS, ROWS, ROWS)),
    "function, window": Program(function(window=7), (ROWS, ROWS, ROWS)),
    "function, causal window": Program(function(is_causal=True, window=7), (ROWS, ROWS, ROWS)),
    "function, groups": Program(function(is_causal=True, enable_gqa=True), (ROWS, FEW, FEW)),
    "function, bias": Program(function(), (ROWS, ROWS, ROWS, (HEADS, T, T))),
    "function, mask": Program(masked, (ROWS, ROWS, ROWS, (BATCH, T))),
    "function, float16": Program(function(is_causal=True), (ROWS, ROWS, ROWS), dtype="float16"),
    "float16": Program(causal, (ROWS, ROWS, ROWS), dtype="float16"),
    "float64": Program(causal, (ROWS, ROWS, ROWS), dtype="float64"),
}
