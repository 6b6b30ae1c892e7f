"""GRAPHC_CHECK_NAN=1: the first line that makes a NaN or an infinity which reaches a result.

In: a program with its trace, or one op on arrays. Out: the same results, or a NotFiniteError. Results are looked at
after each call; only where one is not finite the trace is computed once more, node by node, as the reference has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import NotFiniteError
from .evaluate import apply, evaluate, watching
from .ir import Attrs, Graph, Node, has_graphs
from .op import Op
from .storage import Storage
from .types import Type


class CheckedProgram:
    """A bound program whose results are looked at. Where it raises, the Variables are as before the call."""

    def __init__(
        self, run: Callable[[Sequence[np.ndarray]], Sequence[Any]], traced: Graph, storages: Sequence[Storage]
    ) -> None:
        self.run = run
        self.traced = traced
        self.storages = tuple(storages)

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        before = [s.array.copy() for s in self.storages]
        outputs = [np.asarray(o) for o in self.run(arrays)]
        updated = [s.array for s, u in zip(self.storages, self.traced.updates, strict=True) if u is not None]
        if all(map(_is_finite, (*outputs, *updated))):
            return outputs
        error = first_not_finite(self.traced, arrays, before)
        if error is None:
            return outputs
        for storage, update, old in zip(self.storages, self.traced.updates, before, strict=True):
            if update is not None:
                storage.write(old)
        raise error


def first_not_finite(
    graph: Graph, inputs: Sequence[np.ndarray], variables: Sequence[np.ndarray]
) -> NotFiniteError | None:
    """The error for the first node that makes what reaches a result: NaN from none, or infinity from finite inputs.
    None where infinities only pass through, from the inputs of the call to its results."""
    values: dict[Node, Any] = dict(zip(graph.inputs, inputs, strict=True))
    values |= zip(graph.variables, variables, strict=True)
    for node in graph.nodes:
        if node not in values:
            values[node] = evaluate(node, [values[i] for i in node.inputs])
    guilty = {n for n in _reaching(graph.results, values) if _made(values[n], [values[i] for i in n.inputs])}
    first = next((n for n in graph.nodes if n in guilty), None)
    if first is None:
        return None
    if has_graphs(first) and (error := _inside(first, [values[i] for i in first.inputs])) is not None:
        return error
    if first.inputs:
        return _error(first.op, values[first], [values[i] for i in first.inputs]).at(first.loc)
    name = first.attrs.get("name", "a constant")
    return NotFiniteError(f"{name} holds NaN before the call", got=_counts(values[first])).at(first.loc)


def _inside(node: Node, inputs: Sequence[Any]) -> NotFiniteError | None:
    """The error for the first node in a body, in the first iteration that makes what reaches a result of the body."""

    def look(graph: Graph, arrays: Sequence[np.ndarray]) -> None:
        with watching(lambda graph, arrays: None):
            error = first_not_finite(graph, arrays, ())
        if error is not None:
            raise error

    try:
        with watching(look):
            evaluate(node, inputs)
    except NotFiniteError as error:
        return error
    return None


def _reaching(results: Iterable[Node], values: Mapping[Node, Any]) -> set[Node]:
    """The nodes that are not finite, and are on a way to a result through others that are not."""
    found: set[Node] = set()
    pending = list(results)
    while pending:
        node = pending.pop()
        if node not in found and not _is_finite(values[node]):
            found.add(node)
            pending.extend(node.inputs)
    return found


def checked_apply(op: Op, type_: Type, inputs: Sequence[Any], attrs: Attrs) -> Any:
    """`apply`, for operations that run at once."""
    result = apply(op, type_, inputs, attrs)
    if _made(result, inputs):
        raise _error(op, result, inputs)
    return result


def _made(result: Any, inputs: Sequence[Any]) -> bool:
    """Whether there is a NaN that no input has, or an infinity where all inputs are finite. Sources are taken to have
    made their NaNs."""
    if _is_finite(result):
        return False
    if _has_nan(result) and not any(map(_has_nan, inputs)):
        return True
    return bool(inputs) and all(map(_is_finite, inputs))


def _error(op: Op, result: Any, inputs: Sequence[Any]) -> NotFiniteError:
    ranges = ", ".join(_range(x) for x in inputs if isinstance(x, np.ndarray))
    return NotFiniteError(
        f"{op.name} makes the first NaN or infinity", got=f"{_counts(result)}; its inputs: {ranges}"
    )


def _counts(value: Any) -> str:
    found = map(_floats, value if isinstance(value, tuple) else (value,))
    floats = np.concatenate([x.ravel() for x in found if x is not None])
    return f"{np.isnan(floats).sum()} NaN and {np.isinf(floats).sum()} infinite of {floats.size} elements"


def _range(x: np.ndarray) -> str:
    floats = _floats(x)
    if floats is None or not floats.size:
        return f"{x.dtype}{list(x.shape)}"
    return f"{x.dtype}{list(x.shape)} from {floats.min():.4g} to {floats.max():.4g}"


def _is_finite(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_finite, value))
    floats = _floats(value)
    return floats is None or bool(np.isfinite(floats).all())


def _has_nan(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(_has_nan, value))
    floats = _floats(value)
    return floats is not None and bool(np.isnan(floats).any())


def _floats(x: Any) -> np.ndarray | None:
    """The array, with 16-bit floats widened; None for what holds no floats."""
    array = np.asarray(x)
    if array.dtype.kind == "f":
        return array
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else None
