"""Compile time as programs grow: the first call of each, with nothing in the cache, at a size and at twice the size.

Each in fresh processes. Initializers are zeros, since it is the compiler that is measured.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

import graphc as gx
from graphc import nn, optim

Prepared: TypeAlias = tuple[Any, tuple[Any, ...]]  # a compiled function and the arguments of its first call


def _zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def layers(count: int) -> Prepared:
    """Training step of so many layers of 64 units, with Adam."""
    model = [(gx.Variable(_zeros(64, 64)), gx.Variable(_zeros(64))) for _ in range(count)]
    optimizer = optim.Adam([v for pair in model for v in pair])

    @gx.compile
    def step(x: gx.Tensor, y: gx.Tensor) -> gx.Tensor:
        for weight, bias in model:
            x = nn.relu(x @ weight + bias)
        loss = nn.mse_loss(x, y)
        optimizer.minimize(loss)
        return loss

    return step, (_zeros(32, 64), _zeros(32, 64))


def chain(count: int) -> Prepared:
    """Gradient of a chain of so many ops on one vector."""

    def loss(x: gx.Tensor) -> gx.Tensor:
        for _ in range(count // 2):
            x = gx.sin(x) * 1.01
        return gx.sum(x)

    return gx.compile(gx.grad(loss)), (_zeros(1000),)


def recurrent(count: int) -> Prepared:
    """Gradient of a GRU unrolled over so many steps."""
    size = 32
    names = ("ur", "wr", "uz", "wz", "un", "wn")
    weights = {name: gx.Variable(_zeros(size, size)) for name in names}

    def loss(x: gx.Tensor) -> gx.Tensor:
        h = gx.zeros((8, size))
        for t in range(count):
            w, now = weights, x[t]
            r = nn.sigmoid(now @ w["wr"] + h @ w["ur"])
            z = nn.sigmoid(now @ w["wz"] + h @ w["uz"])
            n = gx.tanh(now @ w["wn"] + r * (h @ w["un"]))
            h = (1 - z) * n + z * h
        return gx.mean(h * h)

    @gx.compile
    def gradients(x: gx.Tensor) -> tuple[gx.Tensor, ...]:
        return tuple(gx.gradients(loss(x), list(weights.values())))

    return gradients, (_zeros(count, 8, size),)


def stack(count: int) -> Prepared:
    """Stack of so many inputs."""
    return gx.compile(lambda *xs: gx.stack(xs)), tuple(_zeros(16) for _ in range(count))


def transformer(count: int) -> Prepared:
    """Training step of so many transformer blocks, with Adam."""
    size, heads, time_, batch = 64, 4, 16, 2
    norm = lambda: (gx.Variable(np.ones(size, np.float32)), gx.Variable(_zeros(size)))  # noqa: E731
    dense = lambda n, m: (gx.Variable(_zeros(n, m)), gx.Variable(_zeros(m)))  # noqa: E731
    blocks = [
        (norm(), dense(size, 3 * size), dense(size, size), norm(), dense(size, 4 * size), dense(4 * size, size))
        for _ in range(count)
    ]
    optimizer = optim.Adam([v for block in blocks for pair in block for v in pair])

    def attention(x: gx.Tensor, qkv: Any, out: Any) -> gx.Tensor:
        split = gx.reshape(x @ qkv[0] + qkv[1], (batch, time_, 3, heads, size // heads))
        q, k, v = (gx.permute_dims(split[:, :, i], (0, 2, 1, 3)) for i in range(3))
        weights = nn.softmax((q @ gx.permute_dims(k, (0, 1, 3, 2))) * 0.25)
        mixed = gx.reshape(gx.permute_dims(weights @ v, (0, 2, 1, 3)), (batch, time_, size))
        return mixed @ out[0] + out[1]

    @gx.compile
    def step(x: gx.Tensor, y: gx.Tensor) -> gx.Tensor:
        for norm1, qkv, out, norm2, wide, narrow in blocks:
            x = x + attention(nn.layer_norm(x, (size,), *norm1), qkv, out)
            h = nn.gelu(nn.layer_norm(x, (size,), *norm2) @ wide[0] + wide[1])
            x = x + (h @ narrow[0] + narrow[1])
        loss = nn.mse_loss(x, y)
        optimizer.minimize(loss)
        return loss

    return step, (_zeros(batch, time_, size), _zeros(batch, time_, size))


def digits(count: int) -> Prepared:
    """The digits example's training step, with so many hidden layers."""
    sizes = [64, *[128] * count, 10]
    model = [(gx.Variable(_zeros(a, b)), gx.Variable(_zeros(b))) for a, b in itertools.pairwise(sizes)]
    optimizer = optim.Adam([v for pair in model for v in pair], lr=1e-2)

    @gx.compile
    def step(x: gx.Tensor, y: gx.Tensor) -> tuple[gx.Tensor, gx.Tensor]:
        for number, (weight, bias) in enumerate(model):
            x = x @ weight + bias
            if number < count:
                x = nn.relu(x)
        loss = nn.cross_entropy(x, y)
        optimizer.minimize(loss)
        return loss, gx.mean(gx.astype(gx.argmax(x, axis=1) == y, "float32"))

    return step, (_zeros(128, 64), np.zeros(128, np.int64))


def groups(count: int) -> Prepared:
    """So many inputs, each times 2."""
    return gx.compile(lambda *xs: tuple(x * 2 for x in xs)), tuple(_zeros(16) for _ in range(count))


def tree(count: int) -> Prepared:
    """A sum of so many terms as a balanced tree."""

    def total(x: gx.Tensor) -> gx.Tensor:
        terms = [x * float(i) for i in range(count // 2)]
        while len(terms) > 1:
            terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)] + terms[len(terms) & ~1 :]
        return terms[0]

    return gx.compile(total), (_zeros(16),)


# name → (how it is made, its size, the most seconds it may take)
PROGRAMS: dict[str, tuple[Callable[[int], Prepared], int, float]] = {
    "Linear+relu layers, Adam": (layers, 200, 2.0),
    "ops in a chain, gradient": (chain, 1000, 1.5),
    "steps of a GRU, gradient": (recurrent, 160, 2.5),
    "inputs of a stack": (stack, 4000, 2.0),
    "transformer blocks, Adam": (transformer, 48, 2.5),
    "digits step, hidden layers": (digits, 1, 0.12),
    "independent products": (groups, 1000, 2.0),
    "nodes of a sum tree": (tree, 10_000, 3.0),
}
MOST_GROWTH = 2.3  # when the size doubles


def first_call(name: str, size: int) -> float:
    """Seconds of the first call, in this process."""
    function, arguments = PROGRAMS[name][0](size)
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def _apart(name: str, size: int, tries: int = 3) -> float:
    """The least of some fresh processes, each with an empty cache."""
    code = f"from benchmarks.compile_time import first_call; print(first_call({name!r}, {size}))"
    found = []
    for _ in range(tries):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "GRAPHC_CACHE_DIR": folder}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)  # bytecode is kept, as for any user
            done = subprocess.run(
                [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
            found.append(float(done.stdout))
    return min(found)


def run(threads: int) -> list[dict[str, object]]:
    """The least seconds of the first call at each size and at twice the size."""
    rows: list[dict[str, object]] = []
    for name, (_, size, goal) in PROGRAMS.items():
        once, twice = _apart(name, size), _apart(name, 2 * size)
        rows.append(
            {
                "what": f"{size} {name}",
                "first call (s)": once,
                "goal (s)": goal,
                "twice the size (s)": twice,
                "growth": twice / once,
                "most growth": MOST_GROWTH,
            }
        )
    return rows


if __name__ == "__main__":
    print(first_call(sys.argv[1], int(sys.argv[2])))
