"""One measurement on the GPU and on the CPU: `python -m benchmarks.gpu.measure NAME` prints microseconds by backend.

Arguments lie on the device, and results stay there. A call is over when the device has carried it out; "queued" are
calls in a row, of which only the last is waited for: where that is less, the host and the device take turns waiting.
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


def attention(
    dtype: Any, *shape: int, queries: int | None = None, gradient: bool = False
) -> tuple[Callable[..., Any], list[np.ndarray]]:
    """Causal; of the last queries only, if `queries` says how many."""
    q, k, v = (f32(*shape).astype(dtype) for _ in range(3))

    def f(q: Any, k: Any, v: Any) -> Any:
        return nn.scaled_dot_product_attention(q, k, v, is_causal=queries is None)

    def gradients(q: Any, k: Any, v: Any) -> Any:
        return gx.grad(lambda *x: gx.sum(gx.astype(f(*x), "float32") ** 2), argnums=(0, 1, 2))(q, k, v)

    return gradients if gradient else f, [q[..., -(queries or shape[-2]) :, :], k, v]


def recurrent(steps: int, width: int) -> tuple[Callable[..., Any], list[np.ndarray]]:
    w = weights(width, width)

    def f(x: Any) -> Any:
        return gx.scan(lambda h, t: (gx.tanh(h @ w + t), None), x[0], x)[0]

    return f, [f32(steps, 64, width)]


def counting(steps: int) -> tuple[Callable[..., Any], list[np.ndarray]]:
    """A loop that asks the device each time whether to go on."""
    return lambda x: gx.while_loop(lambda c: gx.max(c) < steps, lambda c: c + 1, x), [np.zeros(64, np.float32)]


CASES: dict[str, Callable[[], tuple[Callable[..., Any], list[np.ndarray]]]] = {
    "tiny call": lambda: (lambda x: x + 1, [f32(4)]),
    "10 products 1024": lambda: product(1024),
    "10 products 2048": lambda: product(2048),
    "perceptron 256x1024, 4 layers": perceptron,
    "softmax 4096x1024, row sums": lambda: (lambda x: gx.sum(nn.softmax(x) * x, axis=1), [f32(4096, 1024)]),
    "layer norm 4096x768": lambda: (lambda x: gx.sum(nn.layer_norm(x, (768,)) * x, axis=1), [f32(4096, 768)]),
    "digits training step": digits_step,
    "attention 4x12x1024x64 float16": lambda: attention(np.float16, 4, 12, 1024, 64),
    "attention 4x12x1024x64 float16, gradients": lambda: attention(np.float16, 4, 12, 1024, 64, gradient=True),
    "attention 4x16x4096x128 float16": lambda: attention(np.float16, 4, 16, 4096, 128),
    "attention 4x16x4096x128 float16, gradients": lambda: attention(np.float16, 4, 16, 4096, 128, gradient=True),
    "attention 4x12x512x64 float32": lambda: attention(np.float32, 4, 12, 512, 64),
    "attention 1 query of 8x32x4096x128 float16": lambda: attention(np.float16, 8, 32, 4096, 128, queries=1),
    "sort 10^6": lambda: (lambda x: gx.sort(x), [f32(1_000_000)]),
    "argsort 512x5000": lambda: (lambda x: gx.argsort(x), [f32(512, 5000)]),
    "top 10 of 512x5000": lambda: (lambda x: gx.top_k(x, 10), [f32(512, 5000)]),
    "cumulative sum 512x10000": lambda: (lambda x: gx.cumulative_sum(x, axis=1), [f32(512, 10_000)]),
    "cumulative sum 10^7": lambda: (lambda x: gx.cumulative_sum(x), [f32(10_000_000)]),
    "recurrence of 100 steps, 64x256": lambda: recurrent(100, 256),
    "while loop of 100 steps": lambda: counting(100),
}


CPU_LIMIT = 5e6  # microseconds of a first call beyond which the CPU is not asked again


def microseconds(call: Callable[[], Any], wait: Callable[[], None], together: int = 1) -> float:
    """Of a call, the least of several runs of so many together."""
    times = []
    for _ in range(-(-RUNS // together)):
        start = time.perf_counter()
        for _ in range(together):
            call()
        wait()
        times.append((time.perf_counter() - start) / together)
    return round(1e6 * min(times), 1)


def waiting(backend: str) -> Callable[[], None]:
    """What waits for all that a backend's calls have begun."""
    from graphc.devices import opened

    device = opened("cuda:0") if backend == "triton" else None
    return device.synchronize if device is not None else lambda: None


def measure(name: str, backend: str) -> dict[str, float]:
    function, arrays = CASES[name]()
    given = leaves_of(gx.compile(lambda *x: tuple(a + gx.zeros_like(a) for a in x), backend=backend)(*arrays))
    compiled, wait = gx.compile(function, backend=backend), waiting(backend)
    start = time.perf_counter()
    compiled(*given)
    wait()
    first = round(1e6 * (time.perf_counter() - start))
    found: dict[str, float] = {f"{backend}, first call": first}
    if backend == "triton" or first < CPU_LIMIT:
        found[backend] = microseconds(lambda: compiled(*given), wait)
    if backend == "triton":
        found[f"{backend}, queued"] = microseconds(lambda: compiled(*given), wait, together=10)
    return found


def leaves_of(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def main(name: str) -> None:
    print(json.dumps(measure(name, "triton") | measure(name, "llvm")))


if __name__ == "__main__":
    main(sys.argv[1])
