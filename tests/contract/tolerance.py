"""How far a lowering may be from the reference: units in the last place, of what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc import ops
from graphc.evaluate import evaluate
from graphc.ir import Node

# Units in the last place, where more than 4: a product of 67 factors rounds 67 times.
_ULPS = {"prod": 32.0, "cumulative_prod": 64.0, "linear_recurrence": 16.0, "logcumsumexp": 8.0}


def ulps(name: str) -> float:
    return _ULPS.get(name, 4.0)


def scale(node: Node, arrays: Sequence[np.ndarray]) -> np.ndarray | float:
    """The size of what cancelled on the way to the result; errors are relative to it."""
    sizes = [np.abs(a) for a in arrays]
    if node.op in (ops.sum, ops.dot_general, ops.cumulative_sum, ops.linear_recurrence):
        return evaluate(node, sizes).astype(np.float64)
    if node.op is ops.logcumsumexp:
        return np.fmax.accumulate(sizes[0].astype(np.float64), node.attrs["axis"])
    if node.op is ops.logaddexp:
        return np.fmax(*sizes).astype(np.float64)
    return 0.0
