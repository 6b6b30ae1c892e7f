"""Memory-bound kernels against copying the same bytes, and against NumPy, PyTorch and JAX where installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import graphc as gx
from graphc import nn
from graphc.storage import aligned_empty
from graphc.types import TensorType, float32

from .machine import copier
from .timing import ratios, take_turns

C = 0.7978845608028654


@dataclass(frozen=True)
class Case:
    """One kernel: its arguments, and the same work in each library. `nbytes`: what must be read and written."""

    name: str
    arguments: tuple[np.ndarray, ...]
    nbytes: int
    graphc: Callable[..., gx.Tensor]
    numpy: Callable[..., np.ndarray]
    torch: Callable[..., Any]
    jax: Callable[..., Any]


def cases() -> list[Case]:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        """On whole cache lines, as the copy that it is compared with."""
        array = aligned_empty(TensorType(float32, shape))
        array[...] = rng.standard_normal(shape, np.float32)
        return array

    def np_softmax(x):
        e = np.exp(x - x.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    def np_norm(x, w, b):
        centred = x - x.mean(1, keepdims=True)
        return centred / np.sqrt((centred * centred).mean(1, keepdims=True) + 1e-5) * w + b

    def np_gelu(x, b):
        h = x + b
        return 0.5 * h * (1 + np.tanh(C * (h + 0.044715 * h * h * h)))

    def gx_gelu(x, b):
        return nn.gelu(x + b, approximate="tanh")

    def torch_norm(x, w, b):
        import torch

        return torch.nn.functional.layer_norm(x, x.shape[1:], w, b)

    def torch_gelu(x, b):
        import torch

        return torch.nn.functional.gelu(x + b, approximate="tanh")

    def jax_softmax(x):
        import jax

        return jax.nn.softmax(x)

    def jax_norm(x, w, b):
        import jax.numpy as jnp

        centred = x - x.mean(1, keepdims=True)
        return centred / jnp.sqrt((centred * centred).mean(1, keepdims=True) + 1e-5) * w + b

    def jax_gelu(x, b):
        import jax

        return jax.nn.gelu(x + b)

    def gx_norm(x, w, b):
        centred = x - gx.mean(x, axis=1, keepdims=True)
        variance = gx.mean(centred * centred, axis=1, keepdims=True)
        return centred / gx.sqrt(variance + 1e-5) * w + b

    def np_top(x):
        return np.sort(np.partition(x, -10)[:, -10:])[:, ::-1]

    def torch_top(x):
        return x.topk(10)[0]

    def jax_top(x):
        import jax

        return jax.lax.top_k(x, 10)[0]

    a, n, g, s = normal(4096, 1024), normal(4096, 768), normal(4096, 3072), normal(4096, 4096)
    w, b, m, t = normal(768), normal(768), normal(1_000_000), normal(512, 5000)
    gelu = gx_gelu, np_gelu, torch_gelu, jax_gelu
    return [
        Case(
            "softmax 4096×1024",
            (a,),
            2 * a.nbytes,
            nn.softmax,
            np_softmax,
            lambda x: x.softmax(1),
            jax_softmax,
        ),
        Case("layer norm 4096×768", (n, w, b), 2 * n.nbytes, gx_norm, np_norm, torch_norm, jax_norm),
        Case("bias + gelu 4096×3072", (g, normal(3072)), 2 * g.nbytes, *gelu),
        Case(
            "cumulative sum 4096², rows",
            (s,),
            2 * s.nbytes,
            lambda x: gx.cumulative_sum(x, axis=1),
            lambda x: x.cumsum(1),
            lambda x: x.cumsum(1),
            lambda x: x.cumsum(1),
        ),
        Case("sort 10⁶", (m,), 2 * m.nbytes, gx.sort, np.sort, lambda x: x.sort()[0], lambda x: x.sort()),
        Case("top 10 of 512×5000", (t,), t.nbytes, lambda x: gx.top_k(x, 10)[0], np_top, torch_top, jax_top),
        Case("column sum 4096²", (s,), s.nbytes, lambda x: gx.sum(x, axis=0), *3 * (lambda x: x.sum(0),)),
    ]


def run(threads: int) -> list[dict[str, object]]:
    """A row for each kernel; times are medians in milliseconds, `of copy` the speed as a share of copying's."""
    rows: list[dict[str, object]] = []
    for case in cases():
        compiled = gx.compile(case.graphc)
        tensors = [gx.asarray(x) for x in case.arguments]
        wanted = case.numpy(*case.arguments)
        np.testing.assert_allclose(compiled(*tensors).numpy(), wanted, rtol=2e-3, atol=2e-3)
        report = compiled.report(*tensors)
        candidates: dict[str, Callable[[], object]] = {
            # np.copyto reads and writes half of these bytes each, which is the traffic of the kernel
            "copy": copier(case.nbytes // 2, threads),
            "graphc": partial(compiled, *tensors),
            "NumPy": partial(case.numpy, *case.arguments),
        }
        candidates |= _peers(case, wanted, threads)
        times = take_turns(candidates, rounds=11, share=0.05)
        row: dict[str, object] = {
            "kernel": case.name,
            "kernels": len(report.kernels),
            "slow paths": len(report.slow_paths),
        }
        row |= {f"{name} (ms)": 1e3 * t.median for name, t in times.items()}
        row["speed of copy"] = ratios(times["copy"], times["graphc"])
        rows.append(row)
    return rows


def _peers(case: Case, wanted: np.ndarray, threads: int) -> dict[str, Callable[[], object]]:
    found: dict[str, Callable[[], object]] = {}
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(threads)
        tensors = [torch.from_numpy(x) for x in case.arguments]
        np.testing.assert_allclose(case.torch(*tensors).numpy(), wanted, rtol=2e-3, atol=2e-3)
        found["PyTorch"] = lambda: case.torch(*tensors)
    if importlib.util.find_spec("jax"):
        import jax

        function = jax.jit(case.jax)
        arrays = [jax.numpy.asarray(x) for x in case.arguments]
        np.testing.assert_allclose(np.asarray(function(*arrays)), wanted, rtol=2e-3, atol=2e-3)
        found["JAX"] = lambda: function(*arrays).block_until_ready()
    return found
