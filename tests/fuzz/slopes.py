"""Gradients of random graphs against slopes: differences of the graph's own values, in float64.

A slope is asked for in one random direction, of a few elements of each result. Where the function jumps, has an edge
nearby, or leaves the numbers, no slope is to be had, and the element does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc import ops
from graphc.errors import GraphcError
from graphc.ir import Graph, Literal, Node, everywhere, is_tuple, topological_order
from graphc.passes.differentiate import differentiate
from graphc.types import DType, TensorType, float64

from .checks import Summary
from .random_graphs import Case, random_case
from .stability import Arrays, Coverage, run

STEP = 1e-6
LARGE = 1e3
SAMPLES = 3  # elements of each result
WITHOUT = (ops.stop_gradient, ops.bitcast)  # they do change with their inputs, but pass on no gradient


def check_slopes(seed: int, summary: Summary, make: Callable[[int], Case] = random_case) -> None:
    """The gradients of elements of a seed's results, by the reference, against their slopes."""
    case = in_float64(make(seed))
    if case is None or any(n.op in WITHOUT or _is_endless(n) for n in everywhere(case.graph)):
        return
    rng = np.random.default_rng(seed)
    graph = case.graph
    wrt = [n for n in (*graph.inputs, *graph.variables) if n.dtype.is_float]
    results = [n for n in dict.fromkeys(graph.results) if n.dtype.is_float and n.tensor_type.size]
    if not wrt or not results:
        return
    line = _Line(graph, case, wrt, results, rng)
    gradients = _Gradients(graph, case, wrt, results)
    summary.ops |= {n.op.name for n in gradients.path}
    for number, result in enumerate(results):
        for element in rng.integers(0, result.tensor_type.size, SAMPLES):
            slope, doubt = line.slope(number, int(element))
            found = gradients.along(line.direction, number, int(element)) if np.isfinite(doubt) else np.nan
            counts = not np.isnan(found)  # as 0, another element's cotangent, times an infinity is
            summary.coverage += Coverage(int(counts), 1)
            if counts and not abs(found - slope) <= 20 * doubt + 1e-5 * abs(slope) + 1e-7:
                raise AssertionError(
                    f"the gradient of element {element} of {result} is {found} along the line, "
                    f"its slope {slope}\n{graph}"
                )


def _is_endless(node: Node) -> bool:
    """A loop without a limit has no gradients, and says so."""
    return node.op is ops.while_loop and node.attrs["max_steps"] is None


def in_float64(case: Case) -> Case | None:
    """The case with float64 wherever there are floats; None where that is not to be had (a bitcast)."""
    try:
        graph = _graph_in_float64(case.graph)
    except GraphcError:
        return None
    return Case(graph, [_wide_array(a) for a in case.inputs], [_wide_array(a) for a in case.variables])


def _graph_in_float64(graph: Graph) -> Graph:
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        attrs = {name: _wide(value) for name, value in node.attrs.items()}
        new[node] = node.op(*(new[i] for i in node.inputs), **attrs)
    updates = tuple(None if u is None else new[u] for u in graph.updates)
    sources = tuple(new[i] for i in graph.inputs), tuple(new[v] for v in graph.variables)
    return Graph(*sources, updates, tuple(new[o] for o in graph.outputs))


def _wide(value: Any) -> Any:
    match value:
        case DType() if value.is_float:
            return float64
        case TensorType() if value.dtype.is_float:
            return value.with_dtype(float64)
        case Literal():
            return Literal(_wide_array(value.array))
        case Graph():
            return _graph_in_float64(value)
    return value


def _wide_array(array: np.ndarray) -> np.ndarray:
    return array if array.dtype.kind in "iub" else array.astype(np.float64)


class _Line:
    """Results at points of a line through the arguments."""

    def __init__(
        self, graph: Graph, case: Case, wrt: Sequence[Node], results: Sequence[Node], rng: np.random.Generator
    ) -> None:
        self.direction = [rng.uniform(-1, 1, n.shape) for n in wrt]
        moving = dict(zip(wrt, self.direction, strict=True))
        plain = Graph(graph.inputs, graph.variables, (None,) * len(graph.variables), tuple(results))

        def moved(nodes: Sequence[Node], arrays: Arrays, t: float) -> list[np.ndarray]:
            return [a + t * moving[n] if n in moving else a for n, a in zip(nodes, arrays, strict=True)]

        def at(t: float) -> list[np.ndarray]:
            inputs = moved(graph.inputs, case.inputs, t)
            values = run(plain, inputs, moved(graph.variables, case.variables, t))
            return [v.reshape(-1) for v in values[: len(results)]]

        self.values = {k: at(k * STEP) for k in (-2, -1, 0, 1, 2)}

    def slope(self, result: int, element: int) -> tuple[float, float]:
        """The slope of an element, and how far it may be off; infinitely far where the function is not smooth."""
        with np.errstate(all="ignore"):
            f = {k: float(v[result][element]) for k, v in self.values.items()}
            slope = (f[1] - f[-1]) / (2 * STEP)
            twice = (f[2] - f[-2]) / (4 * STEP)
            sides = abs((f[1] - f[0]) - (f[0] - f[-1])) / STEP
        doubt = abs(slope - twice)
        size = abs(slope) + 1e-3
        # Of a large number, steps of a staircase look smooth, and small changes are lost.
        smooth = abs(f[0]) < LARGE and doubt <= 1e-4 * size and sides <= 1e-3 * size
        return slope, doubt if smooth else np.inf


class _Gradients:
    """The gradient of any one element of the results."""

    def __init__(self, graph: Graph, case: Case, wrt: Sequence[Node], results: Sequence[Node]) -> None:
        self.case = case
        cotangents = [ops.input(type=n.tensor_type, name=f"g{i}") for i, n in enumerate(results)]
        self.shapes = [n.shape for n in results]
        found = differentiate(results, wrt, cotangents)
        self.reached = [g is not None for g in found]
        inputs = (*graph.inputs, *cotangents)
        gradients = tuple(g for g in found if g is not None)
        self.graph = Graph(inputs, graph.variables, (None,) * len(graph.variables), gradients)
        self.path = _path(results, wrt)

    def along(self, direction: Arrays, result: int, element: int) -> float:
        """Its change along a direction of the arguments."""
        seeds = [np.zeros(shape) for shape in self.shapes]
        seeds[result].reshape(-1)[element] = 1
        found = run(self.graph, [*self.case.inputs, *seeds], self.case.variables)
        ways = [d for d, reached in zip(direction, self.reached, strict=True) if reached]
        with np.errstate(all="ignore"):
            return float(sum(np.sum(g * d) for g, d in zip(found, ways, strict=False)))


def _path(results: Sequence[Node], wrt: Sequence[Node]) -> set[Node]:
    """The nodes that depend on `wrt` through floats."""
    found = set(wrt)
    for node in topological_order(results):
        if (is_tuple(node) or node.dtype.is_float) and any(i in found for i in node.inputs):
            found.add(node)
    return found
