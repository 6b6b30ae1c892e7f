"""Concrete operations: what each costs on a few numbers and on a million, beside NumPy, and new parameters."""

from __future__ import annotations

import timeit
from collections.abc import Callable, Mapping

import numpy as np

import graphc as gx

from .timing import take_turns

A = np.linspace(0.5, 2, 6, dtype=np.float32).reshape(2, 3)
M = np.linspace(0.5, 2, 1 << 20, dtype=np.float32).reshape(1024, 1024)
TWO = np.array([2, 0])
PLACES = np.arange(1024)[::-1].copy()

Pair = tuple[Callable[[], object], Callable[[], object]]


def _small() -> Mapping[str, Pair]:
    """graphc's operation and NumPy's, on a few numbers."""
    a = gx.asarray(A)
    return {
        "add": (lambda: gx.add(a, a), lambda: np.add(A, A)),
        "a + 1": (lambda: a + 1, lambda: A + 1),
        "exp": (lambda: gx.exp(a), lambda: np.exp(A)),
        "where": (lambda: gx.where(a > 1, a, 0), lambda: np.where(A > 1, A, 0)),
        "sum along an axis": (lambda: gx.sum(a, axis=0), lambda: np.sum(A, axis=0)),
        "reshape": (lambda: gx.reshape(a, (3, 2)), lambda: np.reshape(A, (3, 2))),
        "matmul": (lambda: gx.matmul(a.T, a), lambda: np.matmul(A.T, A)),
        "a[0, 1]": (lambda: a[0, 1], lambda: A[0, 1]),
        "a[:, 1]": (lambda: a[:, 1], lambda: A[:, 1]),
        "each row of two": (lambda: list(a), lambda: list(A)),
        "mean": (lambda: gx.mean(a, axis=1), lambda: np.mean(A, axis=1)),
        "take columns": (lambda: gx.take(a, TWO, axis=1), lambda: np.take(A, TWO, axis=1)),
        "concat": (lambda: gx.concat([a, a]), lambda: np.concatenate([A, A])),
        "softmax": (lambda: gx.nn.softmax(a), lambda: _softmax(A)),
        "std": (lambda: gx.std(a, axis=1), lambda: np.std(A, axis=1)),
    }


def _large() -> Mapping[str, Pair]:
    """The same on 1024 × 1024 numbers."""
    m = gx.asarray(M)
    return {
        "add": (lambda: gx.add(m, m), lambda: np.add(M, M)),
        "exp": (lambda: gx.exp(m), lambda: np.exp(M)),
        "sum along an axis": (lambda: gx.sum(m, axis=0), lambda: np.sum(M, axis=0)),
        "transpose": (lambda: m.T, lambda: M.T),
        "take columns": (lambda: gx.take(m, PLACES, axis=1), lambda: np.take(M, PLACES, axis=1)),
        "matmul": (lambda: gx.matmul(m, m), lambda: np.matmul(M, M)),
        "softmax": (lambda: gx.nn.softmax(m), lambda: _softmax(M)),
        "gelu": (lambda: gx.nn.gelu(m), lambda: 0.5 * M * (1 + np.tanh(0.8 * (M + 0.04 * M**3)))),
    }


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _compared(pairs: Mapping[str, Pair], unit: float, text: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name, (ours, theirs) in pairs.items():
        found = take_turns({"graphc": ours, "numpy": theirs}, rounds=7, share=0.01)
        rows.append({"what": f"{name} {text}", **{k: unit * t.best for k, t in found.items()}})
    return rows


def _new_shapes() -> None:
    """Three operations on shapes that were never met before."""
    global _met
    _met += 1
    x = gx.asarray(np.zeros((2, _met), np.float32))
    gx.sum(gx.exp(x) + 1, axis=0)


_met = 0


def run(threads: int) -> list[dict[str, object]]:
    """Microseconds for few numbers, milliseconds for many; the best of some rounds."""
    rows = _compared(_small(), 1e6, "of 2 × 3 (µs)")
    rows.append(
        {
            "what": "three operations on new shapes (µs)",
            "graphc": 1e6 * min(timeit.repeat(_new_shapes, number=20, repeat=20)) / 20,
            "goal": 30,
        }
    )
    rows += _compared(_large(), 1e3, "of 1024 × 1024 (ms)")
    parameters: dict[str, tuple[Callable[[], object], float]] = {
        "nn.Linear(4096, 4096) (ms)": (lambda: gx.nn.Linear(4096, 4096), 150),
        "normal numbers for an embedding of 50257 × 768 (ms)": (lambda: gx.random.normal((50257, 768)), 1000),
    }
    for name, (make, goal) in parameters.items():
        rows.append({"what": name, "graphc": 1e3 * min(timeit.repeat(make, number=1, repeat=7)), "goal": goal})
    return rows
