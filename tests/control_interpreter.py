"""What control ops mean, once more: as Python loops over bodies that the caller runs, so that what happens inside can
be looked at, or disturbed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from graphc import ops
from graphc.ir import Graph, Node

Arrays = Sequence[np.ndarray]
Run = Callable[[Graph, list[np.ndarray]], list[np.ndarray]]


def run_control(node: Node, inputs: Arrays, run: Run) -> tuple[np.ndarray, ...]:
    """The results of a control node; `run(body, arrays)` gives a body's outputs."""
    if node.op is ops.switch:
        index, *rest = inputs
        number = max(0, min(int(index), len(node.attrs) - 1))
        return tuple(run(node.attrs[f"branch{number}"], rest))
    if node.op is ops.checkpoint:
        return tuple(run(node.attrs["body"], list(inputs)))
    return _scan(node, list(inputs), run) if node.op is ops.scan else _while(node, list(inputs), run)


def _scan(node: Node, inputs: list[np.ndarray], run: Run) -> tuple[np.ndarray, ...]:
    attrs = node.attrs
    steps = max(0, min(int(inputs.pop(0)), attrs["length"])) if attrs["counted"] else attrs["length"]
    consts, end = attrs["consts"], attrs["consts"] + attrs["carries"]
    state = inputs[consts:end]
    rows: dict[int, list[np.ndarray]] = {}
    for step in range(steps):
        row = steps - 1 - step if attrs["reverse"] else step
        found = run(attrs["body"], [*inputs[:consts], *state, *(x[row] for x in inputs[end:])])
        state, rows[row] = found[: len(state)], found[len(state) :]
    return (*state, *_stacked(attrs["body"], attrs["carries"], attrs["length"], rows))


def _while(node: Node, inputs: list[np.ndarray], run: Run) -> tuple[np.ndarray, ...]:
    attrs = node.attrs
    fixed, state = inputs[: attrs["consts"]], inputs[attrs["consts"] :]
    most = attrs["max_steps"]
    rows: dict[int, list[np.ndarray]] = {}
    while (most is None or len(rows) < most) and run(attrs["cond"], [*fixed, *state])[0]:
        found = run(attrs["body"], [*fixed, *state])
        state, rows[len(rows)] = found[: len(state)], found[len(state) :]
    return (*state, np.asarray(len(rows), np.int64), *_stacked(attrs["body"], attrs["carries"], most or 0, rows))


def _stacked(body: Graph, carries: int, length: int, rows: dict[int, list[np.ndarray]]) -> list[np.ndarray]:
    """One array for each output behind the carries, with zeros where there are no rows."""
    made = []
    for number, node in enumerate(body.outputs[carries:]):
        zeros = np.zeros(node.shape, node.dtype.numpy)
        column = [rows[i][number] if i in rows else zeros for i in range(length)]
        made.append(np.stack(column) if column else np.zeros((0, *node.shape), node.dtype.numpy))
    return made
