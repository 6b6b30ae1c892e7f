"""Compares the speed of the digits model on graphc's backends and on the libraries that are installed.

All candidates start from the same parameters; their results are compared before anything is timed, and they take
turns, so that a machine that slows down slows them all. Medians; one row for each candidate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

import digits_peers as peers
import numpy as np
from digits import BATCH, Digits, Split, digits

import graphc as gx

ROUNDS = 11
SECONDS = 0.02  # one round of one candidate
REST = 0.05  # seconds before that: until the threads of the one before have stopped waiting for work in loops


@dataclass
class Candidate:
    """A backend or library, with the seconds that its first training step and prediction took."""

    peer: peers.Peer
    compile_seconds: float = 0.0


def graphc_peer(backend: str, parameters: peers.Parameters, threads: int) -> peers.Peer:
    """graphc on one backend. Raises Missing with the backend's own words where it can't run here."""
    with gx.using(threads=threads):
        task: Digits = digits(backend=backend)
    for variable, value in zip(task.model.parameters(), parameters, strict=True):
        variable.assign(value if variable.shape == value.shape else np.ascontiguousarray(value.T))
    try:
        task.predict(np.zeros((1, 64), np.float32))
    except gx.UnsupportedError as error:
        raise peers.Missing(error.rule) from None
    return peers.Peer(
        f"graphc {backend}",
        lambda x: task.predict(x).numpy(),
        lambda x, y: task.train_step(x, y)[0].item(),
    )


def parameters(seed: int = 0) -> peers.Parameters:
    """He-initialized weights (in × out) and zero biases."""
    rng = np.random.default_rng(seed)
    w1 = rng.standard_normal((64, 128), np.float32) * np.float32((2 / 64) ** 0.5)
    w2 = rng.standard_normal((128, 10), np.float32) * np.float32((2 / 128) ** 0.5)
    return w1, np.zeros(128, np.float32), w2, np.zeros(10, np.float32)


def candidates(x: np.ndarray, y: np.ndarray, threads: int) -> tuple[list[Candidate], dict[str, str]]:
    """Who takes part, checked against NumPy, and why others can't."""
    makers: dict[str, Callable[[peers.Parameters, int], peers.Peer]] = {
        "graphc llvm": partial(graphc_peer, "llvm"),
        "graphc triton": partial(graphc_peer, "triton"),
        "graphc reference": partial(graphc_peer, "reference"),
        "PyTorch eager": peers.pytorch,
        "JAX": peers.jax,
        "ONNX Runtime": peers.onnx_runtime,
        "NumPy": peers.numpy_,
    }
    wanted = peers.numpy_(parameters(), threads)
    p, loss = wanted.predict(x), wanted.train(x, y)
    found, missing = [], {}
    for name, make in makers.items():
        start = time.perf_counter()
        try:
            peer = make(parameters(), threads)
        except peers.Missing as reason:
            missing[name] = str(reason)
            continue
        np.testing.assert_allclose(peer.predict(x), p, rtol=1e-4, atol=1e-5)
        if peer.train is not None:
            np.testing.assert_allclose(peer.train(x, y), loss, rtol=1e-4)
        found.append(Candidate(peer, time.perf_counter() - start))
    return found, missing


def medians(functions: list[Callable[[], object]]) -> list[float]:
    """Median seconds of one call of each; they take turns in rounds of about 20 ms."""
    counts = []
    for f in functions:
        start, n = time.perf_counter(), 0
        while time.perf_counter() - start < SECONDS:
            f()
            n += 1
        counts.append(n)
    samples: list[list[float]] = [[] for _ in functions]
    for _ in range(ROUNDS):
        for f, n, times in zip(functions, counts, samples, strict=True):
            time.sleep(REST)
            f()
            start = time.perf_counter()
            for _ in range(n):
                f()
            times.append((time.perf_counter() - start) / n)
    return [float(np.median(t)) for t in samples]


def batches(train: Split) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches without end. Labels are shuffled, so that there is always something to learn: a model that knows its
    batch by heart computes with subnormal numbers, which take processors ten times longer."""
    labels = np.random.default_rng(0).permutation(train.labels)
    starts = range(0, len(labels) - BATCH + 1, BATCH)
    return cycle([(train.images[i : i + BATCH].copy(), labels[i : i + BATCH].copy()) for i in starts])


def trained_on(step: Callable[..., float], data: Iterator[tuple[np.ndarray, np.ndarray]]) -> float:
    """One step on the next batch."""
    return step(*next(data))


def measure(train: Split, test: Split, threads: int) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A row of numbers for each candidate (microseconds; compile seconds), and who is missing and why."""
    x, y, one = train.images[:BATCH], train.labels[:BATCH], test.images[:1]
    found, missing = candidates(x, y, threads)
    steps = [partial(trained_on, c.peer.train, batches(train)) if c.peer.train else None for c in found]
    rows: list[dict[str, Any]] = [{"name": c.peer.name, "first call (s)": c.compile_seconds} for c in found]
    columns: dict[str, Sequence[Callable[[], object] | None]] = {
        "step of 128 (µs)": steps,
        "predict 128 (µs)": [partial(c.peer.predict, x) for c in found],
        "predict 1 (µs)": [partial(c.peer.predict, one) for c in found],
    }
    for column, functions in columns.items():
        taking_part = {i: f for i, f in enumerate(functions) if f is not None}
        for i, seconds in zip(taking_part, medians(list(taking_part.values())), strict=True):
            rows[i][column] = seconds * 1e6
    return rows, missing


def compare(train: Split, test: Split, threads: int | None = None) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    threads = threads or gx.thread_count()
    rows, missing = measure(train, test, threads)
    columns = [c for c in rows[0] if c != "name"]
    table = Table(title=f"median times, {threads} threads; in brackets: times slower than {rows[0]['name']}")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        cells = [f"{row[c]:.3g} ({row[c] / rows[0][c]:.2f})" if c in row else "–" for c in columns]
        table.add_row(str(row["name"]), *cells)
    Console().print(table)
    for name, reason in missing.items():
        print(f"{name} could not run here: {reason}")
