"""Attention, forward and with its gradient, next to PyTorch's where installed: milliseconds, and temporaries."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import graphc as gx
from graphc import nn

from .timing import take_turns


class Case(NamedTuple):
    """Batch, heads, queries, keys, and the depth of each; `causal`: whether keys after a query are masked."""

    name: str
    shape: tuple[int, int, int, int, int]
    causal: bool = True

    def arrays(self) -> list[np.ndarray]:
        batch, heads, queries, keys, depth = self.shape
        rng, rows = np.random.default_rng(0), (queries, keys, keys, queries)
        return [rng.standard_normal((batch, heads, n, depth), np.float32) for n in rows]


CASES = (
    Case("causal 4×12×512×64", (4, 12, 512, 512, 64)),
    Case("4×12×512×64", (4, 12, 512, 512, 64), causal=False),
    Case("causal 1×8×4096×64", (1, 8, 4096, 4096, 64)),
    Case("causal 4×12×64×64", (4, 12, 64, 64, 64)),
    Case("one query, 4×12×512×64", (4, 12, 1, 512, 64), causal=False),
)
Candidate = tuple[Callable[[], object], Callable[[], object], object]


def run(threads: int) -> list[dict[str, object]]:
    return [row for case in CASES for row in _rows(case, threads)]


def _rows(case: Case, threads: int) -> list[dict[str, object]]:
    arrays = case.arrays()
    ways = {"graphc": _function, "graphc, written out": _by_hand}
    found = {name: _graphc(arrays, case, way) for name, way in ways.items()}
    if importlib.util.find_spec("torch"):
        found["PyTorch"] = _torch(arrays, case, threads)
    forward = take_turns({name: c[0] for name, c in found.items()}, rounds=9, share=0.1)
    gradient = take_turns({name: c[1] for name, c in found.items()}, rounds=9, share=0.1)
    return [
        {
            "attention": case.name, "library": name, "forward, ms": 1e3 * forward[name].median,
            "with gradient, ms": 1e3 * gradient[name].median, "temporaries, MB": found[name][2],
        }
        for name in found
    ]  # fmt: skip


def _function(q: Any, k: Any, v: Any, causal: bool) -> Any:
    return nn.scaled_dot_product_attention(q, k, v, is_causal=causal)


def _by_hand(q: Any, k: Any, v: Any, causal: bool) -> Any:
    scores = q @ gx.matrix_transpose(k) * (1 / math.sqrt(q.shape[-1]))
    if causal:
        i, j = gx.arange(q.shape[-2])[:, None], gx.arange(k.shape[-2])[None, :]
        scores = gx.where(i >= j, scores, -math.inf)
    return nn.softmax(scores) @ v


def _graphc(arrays: list[np.ndarray], case: Case, attention: Callable[..., Any]) -> Candidate:
    def loss(q: Any, k: Any, v: Any, weights: Any) -> Any:
        return gx.sum(attention(q, k, v, case.causal) * weights)

    tensors = [gx.asarray(a) for a in arrays]
    forward = gx.compile(lambda q, k, v: attention(q, k, v, case.causal))
    both = gx.compile(lambda *x: gx.value_and_grad(loss, argnums=(0, 1, 2))(*x))
    memory = both.schedule(*tensors).arena_bytes / 1e6
    return partial(forward, *tensors[:3]), partial(both, *tensors), round(memory, 1)


def _torch(arrays: list[np.ndarray], case: Case, threads: int) -> Candidate:
    import torch

    torch.set_num_threads(threads)
    attention = torch.nn.functional.scaled_dot_product_attention
    q, k, v, weights = (torch.from_numpy(a) for a in arrays)

    def both() -> object:
        given = [x.detach().requires_grad_() for x in (q, k, v)]
        (attention(*given, is_causal=case.causal) * weights).sum().backward()
        return given

    return lambda: attention(q, k, v, is_causal=case.causal), both, ""
