"""Which elements of a graph's results can be compared: those that rounding differences do not blow up.

A comparison or a floor turns a difference in the last bit into a whole one, and cancellation magnifies it, on any
correct backend. So the reference runs again with each float result moved by a few units in the last place, and what
moves sets the tolerance; an element that jumps is not compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.evaluate import evaluate
from graphc.ir import Graph, Node
from graphc.op import Kind

ULPS = 8         # how far a backend's functions and sums may be off, per op
SAFETY = 6.0     # how many times the observed motion is tolerated
_SUMS = (Kind.REDUCTION, Kind.CONTRACTION, Kind.INDEXED)


def reference(graph: Graph, inputs: Sequence[np.ndarray], variables: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The graph's results by each op's reference."""
    return _run(graph, inputs, variables, None)


def moved(
    graph: Graph, inputs: Sequence[np.ndarray], variables: Sequence[np.ndarray], seed: int
) -> list[np.ndarray]:
    """The same with rounding noise."""
    return _run(graph, inputs, variables, np.random.default_rng(seed))


def _run(
    graph: Graph,
    inputs: Sequence[np.ndarray],
    variables: Sequence[np.ndarray],
    rng: np.random.Generator | None,
) -> list[np.ndarray]:
    known: dict[Node, np.ndarray] = dict(
        zip((*graph.inputs, *graph.variables), (*inputs, *variables), strict=True)
    )
    for node in graph.nodes:
        if node not in known:
            inside = [known[i] for i in node.inputs]
            if rng is None:
                known[node] = evaluate(node, inside)
            elif node.op.kind in _SUMS:   # a backend sums in another order, which cancellation magnifies
                known[node] = evaluate(node, [_noise(x, rng) for x in inside])
            else:
                known[node] = _noise(evaluate(node, inside), rng) if inside else evaluate(node, inside)
    return [known[n] for n in graph.results]


def _noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if x.dtype.kind != "f":
        return x
    step = np.finfo(x.dtype).eps * ULPS * rng.uniform(-1, 1, x.shape)
    with np.errstate(all="ignore"):
        return (x + x * step).astype(x.dtype)


def compare(
    results: Sequence[np.ndarray],
    graph: Graph,
    inputs: Sequence[np.ndarray],
    variables: Sequence[np.ndarray],
) -> tuple[int, int]:
    """Assert that the results are the reference's; returns how many elements were compared and how many there are."""
    wanted = reference(graph, inputs, variables)
    trials = [moved(graph, inputs, variables, seed) for seed in range(6)]
    compared = total = 0
    for number, (result, base) in enumerate(zip(results, wanted, strict=True)):
        others = [t[number] for t in trials]
        assert result.dtype == base.dtype and result.shape == base.shape, f"result {number} has another type"
        ok, stable = _close(result, base, others)
        bad = np.argwhere(stable & ~ok)
        if len(bad):
            at = tuple(bad[0])
            raise AssertionError(
                f"result {number} ({graph.results[number].op.name}) at {list(map(int, at))}: "
                f"{result[at]!r}, not {base[at]!r}; {len(bad)} of {base.size} differ\n{graph}"
            )
        compared += int(stable.sum())
        total += base.size
    return compared, total


def _close(
    result: np.ndarray, base: np.ndarray, others: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Which elements agree, and which are stable enough to ask."""
    if base.dtype.kind != "f":
        stable = np.all([o == base for o in others], axis=0) if others else np.ones(base.shape, bool)
        return result == base, np.broadcast_to(stable, base.shape)
    with np.errstate(all="ignore"):
        wide, got = base.astype(np.float64), result.astype(np.float64)
        motion = np.max([np.abs(o.astype(np.float64) - wide) for o in others], axis=0)
        same = (got == wide) | (np.isnan(got) & np.isnan(wide))
        tiny = float(np.finfo(base.dtype).tiny)
        allowed = SAFETY * motion + 16 * np.finfo(base.dtype).eps * np.abs(wide) + tiny
        finite = np.isfinite(wide)
        stable = np.where(finite, motion <= 1e-2 * np.abs(wide) + 1e-3, False)
        alike = np.all([(o == base) | (np.isnan(o) & np.isnan(base)) for o in others], axis=0)
        stable |= ~finite & alike
        return same | (np.abs(got - wide) <= allowed), stable
