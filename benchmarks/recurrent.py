"""An LSTM over a sequence, as `gx.scan`, next to those of the libraries that are installed; and what a loop costs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import graphc as gx

from .timing import take_turns

STEPS, BATCH, SIZE = 100, 32, 128
COUNT = 1_000_000


def run(threads: int) -> list[dict[str, object]]:
    """A row for each candidate: milliseconds of the loss, and of the loss with its gradient, medians of one run."""
    rng = np.random.default_rng(0)
    xs = rng.standard_normal((STEPS, BATCH, SIZE), np.float32)
    w = rng.standard_normal((2 * SIZE, 4 * SIZE), np.float32) * np.float32(0.05)
    candidates: dict[str, dict[str, Callable[[], object]]] = {"graphc": _graphc(w, xs)}
    if importlib.util.find_spec("jax"):
        candidates["JAX"] = _jax(w, xs)
    if importlib.util.find_spec("torch"):
        candidates["PyTorch, nn.LSTM"] = _torch(w, xs, threads)
    rows: list[dict[str, object]] = []
    for name in ("loss", "gradient"):
        times = take_turns({library: found[name] for library, found in candidates.items()}, rounds=11, share=0.1)
        rows += [{"LSTM": name, "library": lib, "ms": 1e3 * t.median} for lib, t in times.items()]
    compiled = gx.compile(lambda n: gx.while_loop(lambda i: i < n, lambda i: i + 1, 0))
    (loop,) = take_turns({"loop": partial(compiled, np.int64(COUNT))}, rounds=5).values()
    rows.append({"LSTM": "while_loop, a million iterations", "library": "graphc", "ms": 1e3 * loop.median})
    return rows


def _graphc(w: np.ndarray, xs: np.ndarray) -> dict[str, Callable[[], object]]:
    def step(carry: Any, x: Any, w: Any) -> Any:
        h, c = carry
        i, f, g, o = gx.split(gx.concat([x, h], axis=1) @ w, 4, axis=1)
        c = gx.sigmoid(f) * c + gx.sigmoid(i) * gx.tanh(g)
        h = gx.sigmoid(o) * gx.tanh(c)
        return (h, c), h

    def loss(w: Any, xs: Any) -> Any:
        zero = gx.zeros((BATCH, SIZE))
        ys = gx.scan(lambda c, x: step(c, x, w), (zero, zero), xs)[1]
        return gx.sum(ys * ys)

    tensors = gx.asarray(w), gx.asarray(xs)
    both = gx.compile(lambda w, xs: gx.value_and_grad(loss)(w, xs))
    return {"loss": partial(gx.compile(loss), *tensors), "gradient": partial(both, *tensors)}


def _jax(w: np.ndarray, xs: np.ndarray) -> dict[str, Callable[[], object]]:
    import jax
    from jax import numpy as jnp

    def step(carry: Any, x: Any, w: Any) -> Any:
        h, c = carry
        i, f, g, o = jnp.split(jnp.concatenate([x, h], axis=1) @ w, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def loss(w: Any, xs: Any) -> Any:
        zero = jnp.zeros((BATCH, SIZE))
        ys = jax.lax.scan(lambda c, x: step(c, x, w), (zero, zero), xs)[1]
        return jnp.sum(ys * ys)

    arrays = jnp.asarray(w), jnp.asarray(xs)
    forward, both = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
    return {
        "loss": lambda: jax.block_until_ready(forward(*arrays)),
        "gradient": lambda: jax.block_until_ready(both(*arrays)),
    }


def _torch(w: np.ndarray, xs: np.ndarray, threads: int) -> dict[str, Callable[[], object]]:
    """PyTorch's own layer, whose gradient is that of both weights and both biases."""
    import torch

    torch.set_num_threads(threads)
    layer = torch.nn.LSTM(SIZE, SIZE)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.from_numpy(w[:SIZE].T.copy()))
        layer.weight_hh_l0.copy_(torch.from_numpy(w[SIZE:].T.copy()))
        layer.bias_ih_l0.zero_()
        layer.bias_hh_l0.zero_()
    x = torch.from_numpy(xs)

    def forward() -> Any:
        with torch.no_grad():
            return (layer(x)[0] ** 2).sum()

    def both() -> Any:
        layer.zero_grad(set_to_none=True)
        loss = (layer(x)[0] ** 2).sum()
        loss.backward()
        return loss

    return {"loss": forward, "gradient": both}
