"""One measurement on the GPU and on the CPU: `python -m benchmarks.gpu.measure NAME` prints microseconds by backend.

A call copies its arguments to the device and its results back, which is part of what is measured.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import graphc as gx
from graphc import nn

RUNS = 30
RNG = np.random.default_rng(0)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def weights(rows: int, columns: int) -> gx.Variable:
    return gx.Variable(f32(rows, columns) / rows**0.5)


def product(size: int) -> tuple[Callable[..., Any], list[np.ndarray]]:
    """Ten products in a row of matrices that stay on the device: the copies weigh little."""
    w = [weights(size, size) for _ in range(10)]

    def f(x: Any) -> Any:
        for each in w:
            x = x @ each
        return gx.sum(x, axis=0)

    return f, [f32(size, size)]


def perceptron() -> tuple[Callable[..., Any], list[np.ndarray]]:
    layers = [weights(1024, 1024) for _ in range(4)]

    def f(x: Any) -> Any:
        for w in layers:
            x = nn.gelu(x @ w)
        return x

    return f, [f32(256, 1024)]


def digits_step() -> tuple[Callable[..., Any], list[np.ndarray]]:
    sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
    from digits import digits, load

    train, _ = load()
    return digits(seed=0).train_step.function, [train.images[:128], train.labels[:128]]


CASES: dict[str, Callable[[], tuple[Callable[..., Any], list[np.ndarray]]]] = {
    "tiny call": lambda: (lambda x: x + 1, [f32(4)]),
    "10 products 1024": lambda: product(1024),
    "10 products 2048": lambda: product(2048),
    "perceptron 256x1024, 4 layers": perceptron,
    "softmax 4096x1024, row sums": lambda: (lambda x: gx.sum(nn.softmax(x) * x, axis=1), [f32(4096, 1024)]),
    "layer norm 4096x768": lambda: (lambda x: gx.sum(nn.layer_norm(x, (768,)) * x, axis=1), [f32(4096, 768)]),
    "digits training step": digits_step,
}


def microseconds(call: Callable[[], Any]) -> float:
    """The least of several runs."""
    call()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return round(1e6 * min(times), 1)


def main(name: str) -> None:
    function, arrays = CASES[name]()
    found: dict[str, float] = {}
    for backend in ("triton", "llvm"):
        compiled = gx.compile(function, backend=backend)
        start = time.perf_counter()
        compiled(*arrays)
        found[f"{backend}, first call"] = round(1e6 * (time.perf_counter() - start))
        found[backend] = microseconds(lambda compiled=compiled: compiled(*arrays))  # type: ignore[misc]
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
