"""Which elements of a graph's results can be compared: those that rounding differences do not blow up.

A comparison or a floor turns a difference in the last bit into a whole one, and cancellation magnifies it, on any
correct backend. So the reference runs again with each float result moved by a few units in the last place, and what
moves sets the tolerance; an element that jumps is not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import ops
from graphc.evaluate import evaluate
from graphc.ir import Graph, Node, everywhere, is_tuple, sub_graphs
from graphc.op import Kind
from graphc.types import as_dtype
from tests.contract.values import types_info
from tests.control_interpreter import run_control

ULPS = 8  # how far a backend's functions and sums may be off, per op
NARROW_ULPS = 1  # the same for 16-bit floats, which compute in float32
SAFETY = 6.0  # how many times the observed motion is tolerated
PAIRS = 3  # of runs with rounding noise: the second moves everything to the other side of the first
_SUMS = (Kind.REDUCTION, Kind.CUMULATIVE, Kind.CONTRACTION, Kind.INDEXED)
_STEP_BY_STEP = {ops.sum: np.add, ops.prod: np.multiply}

Arrays = Sequence[np.ndarray]
Step = Callable[[Node, list[np.ndarray]], Any]


@dataclass(frozen=True)
class Coverage:
    """How many elements were compared, and how many there are."""

    compared: int = 0
    total: int = 0

    def __add__(self, other: Coverage) -> Coverage:
        return Coverage(self.compared + other.compared, self.total + other.total)


def after(graph: Graph) -> tuple[Node, ...]:
    """The nodes of all that can be seen of a run: outputs, then each variable's value afterwards."""
    new = (v if u is None else u for v, u in zip(graph.variables, graph.updates, strict=True))
    return (*graph.outputs, *new)


def run(graph: Graph, inputs: Arrays, variables: Arrays, step: Step = evaluate) -> list[np.ndarray]:
    """What can be seen of a run, by each op's reference; `step` evaluates a node."""
    sources = zip((*graph.inputs, *graph.variables), (*inputs, *variables), strict=True)
    known: dict[Node, Any] = dict(sources)
    for node in graph.nodes:
        if node not in known:
            given = [known[i] for i in node.inputs]
            if sub_graphs(node):
                known[node] = run_control(node, given, lambda body, arrays: run(body, arrays, (), step))
            else:
                known[node] = given[0][node.attrs["index"]] if node.op is ops.item else step(node, given)
    return [known[n].astype(n.dtype.numpy, copy=False) for n in after(graph)]


class Expected:
    """What can be seen of a graph's run, and how firmly it is so."""

    def __init__(self, graph: Graph, inputs: Arrays, variables: Arrays) -> None:
        self.nodes = after(graph)
        self.base = run(graph, inputs, variables)
        steps: list[Step] = [_Noise(seed, sign) for seed in range(PAIRS) for sign in (1, -1)]
        if any(_is_narrow(n) for n in everywhere(graph) if not is_tuple(n)):
            steps.append(_in_float32)
        self.moved = [run(graph, inputs, variables, step) for step in steps]

    def compare(self, results: Arrays) -> Coverage:
        """Assert that the results are these."""
        found = Coverage()
        for number, (result, base) in enumerate(zip(results, self.base, strict=True)):
            name = f"result {number} ({self.nodes[number].op.name})"
            assert result.dtype == base.dtype and result.shape == base.shape, f"{name} has another type"
            ok, stable = _close(result, base, [m[number] for m in self.moved])
            bad = np.argwhere(stable & ~ok)
            if len(bad):
                at = tuple(bad[0])
                raise AssertionError(
                    f"{name} at {list(map(int, at))}: {result[at]!r}, not {base[at]!r}; "
                    f"{len(bad)} of {base.size} differ"
                )
            found += Coverage(int(stable.sum()), base.size)
        return found


class _Noise:
    """Evaluates a node and moves floats by a few units in the last place. Sums and products come in another order:
    what overflows on the way depends on it. The sign of NaN is nobody's promise."""

    def __init__(self, seed: int, sign: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.sign = sign

    def __call__(self, node: Node, inputs: list[np.ndarray]) -> Any:
        if is_tuple(node):  # what is put in order is moved before
            return evaluate(node, inputs)
        if not inputs:
            return np.asarray(evaluate(node, inputs))
        if node.op.kind in _SUMS:  # what a change of order does, which cancellation magnifies
            moved = [self.move(x) for x in inputs]
            if node.op in _STEP_BY_STEP and 0 not in moved[0].shape:
                return self.in_other_order(moved[0], node)
            return np.asarray(evaluate(node, moved))
        return self.move(evaluate(node, inputs))

    def move(self, x: np.ndarray) -> np.ndarray:
        if not as_dtype(x.dtype).is_float:
            return x
        step = self.sign * _ulps(x.dtype) * _eps(x.dtype) * self.rng.uniform(-1, 1, x.shape)
        with np.errstate(all="ignore"):
            moved = np.asarray((x.astype(np.float64) * (1 + step)).astype(x.dtype))
            signs = (self.sign * (self.rng.random(x.shape) - 0.5)).astype(x.dtype)
            return np.where(np.isnan(moved), np.copysign(moved, signs), moved)

    def in_other_order(self, x: np.ndarray, node: Node) -> np.ndarray:
        """A sum or product, element by element in the orders that overflow soonest, which may then meet a 0, or −∞."""
        axes = node.attrs["axes"]
        rows = np.moveaxis(x, axes, range(len(axes))).reshape((-1, *node.shape))
        rows = rows.astype(node.dtype.computes_as.numpy)
        order = np.argsort(rows if node.op is ops.sum else np.abs(rows), axis=0)[:: self.sign]
        rows = np.take_along_axis(rows, order, 0)
        with np.errstate(all="ignore"):
            return np.asarray(_STEP_BY_STEP[node.op].accumulate(rows)[-1].astype(x.dtype))


def _in_float32(node: Node, inputs: list[np.ndarray]) -> Any:
    """Evaluates a node without rounding to 16 bits, as in a fused kernel; a cast does round."""
    if is_tuple(node):
        return evaluate(node, inputs)
    if node.op is ops.cast or not inputs or not _is_narrow(node):
        return np.asarray(evaluate(node, inputs))
    assert node.op.reference is not None
    with np.errstate(all="ignore"):
        wide = [
            x.astype(np.float32) if _is_narrow(i) else x for i, x in zip(node.inputs, inputs, strict=True)
        ]
        return np.asarray(node.op.reference(*wide, **node.attrs))


def _is_narrow(node: Node) -> bool:
    return node.dtype is not node.dtype.computes_as


def _eps(dtype: np.dtype) -> float:
    return float(types_info(as_dtype(dtype)).eps)


def _ulps(dtype: np.dtype) -> int:
    return NARROW_ULPS if dtype.itemsize == 2 else ULPS


def _close(result: np.ndarray, base: np.ndarray, others: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Which elements agree, and which are stable enough to ask."""
    if not as_dtype(base.dtype).is_float:
        return result == base, np.all([o == base for o in others], axis=0)
    with np.errstate(all="ignore"):
        wide, got = base.astype(np.float64), result.astype(np.float64)
        moved = [o.astype(np.float64) for o in others]
        motion = np.max([np.abs(m - wide) for m in moved], axis=0)
        unit = _eps(base.dtype) * 2 * _ulps(base.dtype)
        tiny = float(types_info(as_dtype(base.dtype)).tiny)
        allowed = SAFETY * motion + unit * np.abs(wide) + tiny
        finite = np.isfinite(wide)
        stable = np.where(finite, motion <= (1e-2 + 4 * unit) * np.abs(wide) + 1e-3, False)
        stable |= ~finite & np.all([_is_same(m, wide) for m in moved], axis=0)
        return _is_same(got, wide) | (np.abs(got - wide) <= allowed), stable


def _is_same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a == b) | (np.isnan(a) & np.isnan(b))
