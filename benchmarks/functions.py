"""Elementwise functions of float32, nanoseconds per element, against NumPy and PyTorch where installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np

import graphc as gx

from .timing import ratios, take_turns

SIZE = 1 << 15  # stays in the second-level cache, and is large next to the cost of a call
UNARY = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin",
    "acos", "atan", "asinh", "acosh", "atanh", "sqrt",
)  # fmt: skip
BINARY = ("pow", "atan2", "hypot", "logaddexp", "remainder", "floor_divide")


def run(threads: int) -> list[dict[str, object]]:
    return [_row(name, 1) for name in UNARY] + [_row(name, 2) for name in BINARY]


def _row(name: str, count: int) -> dict[str, object]:
    rng = np.random.default_rng(0)
    low, high = {"acosh": (1.01, 20.0), "asin": (-1.0, 1.0), "acos": (-1.0, 1.0), "atanh": (-0.99, 0.99)}.get(
        name, (0.1, 8.0)
    )
    arrays = [rng.uniform(low, high, SIZE).astype(np.float32) for _ in range(count)]
    compiled, function = gx.compile(getattr(gx, name)), getattr(np, name)
    candidates: dict[str, Callable[[], object]] = {
        "graphc": lambda: compiled(*arrays),
        "NumPy": lambda: function(*arrays),
    }
    if importlib.util.find_spec("torch"):
        import torch

        tensors = [torch.from_numpy(a) for a in arrays]
        peer = getattr(torch, name)
        candidates["PyTorch"] = lambda: peer(*tensors)
    timings = take_turns(candidates, rounds=9, share=0.01)
    row: dict[str, object] = {"function": name}
    row |= {f"{c}, ns": t.median / SIZE * 1e9 for c, t in timings.items()}
    row["NumPy / graphc"] = ratios(timings["NumPy"], timings["graphc"])
    return row
