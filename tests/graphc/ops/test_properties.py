"""What ops declare of themselves, so that passes need not name them, is true of what they compute."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from graphc import ops
from graphc.errors import GraphcError
from graphc.evaluate import evaluate
from graphc.ir import Node
from graphc.op import Kind, Op, registry
from graphc.types import DType, bool_, float32, int32
from tests import graphs

OWN = [op for name, op in registry().items() if not name.startswith("user_")]
VALUES: dict[DType, list[float]] = {
    float32: [-2.5, -1.0, 0.5, 1.0, 3.25, 7.0],
    int32: [-7, -1, 0, 1, 2, 5],
    bool_: [False, True],
}  # fmt: skip


def swapped(op: Op, dtype: DType) -> tuple[np.ndarray, np.ndarray] | None:
    """Results for all pairs, and for the same the other way around; None where the op takes no such two inputs."""
    pairs = np.array(list(permutations(VALUES[dtype], 2)), dtype.numpy)
    x, y = (graphs.source((len(pairs),), dtype) for _ in range(2))
    try:
        node: Node = op(x, y)
    except (GraphcError, TypeError):
        return None
    a, b = pairs[:, 0].copy(), pairs[:, 1].copy()
    with np.errstate(all="ignore"):
        return evaluate(node, [a, b]), evaluate(node, [b, a])


# Whose results don't depend on the order of the inputs, but may in their last bits.
NEARLY = (ops.hypot, ops.logaddexp)
ONE_INPUT = (ops.cast, ops.bitcast)  # and an attr, for which a type could be taken


@pytest.mark.parametrize("op", [op for op in OWN if op.kind is Kind.ELEMENTWISE and op not in ONE_INPUT], ids=str)
def test_what_commutes_is_declared(op: Op) -> None:
    found = [r for dtype in VALUES if (r := swapped(op, dtype)) is not None]
    same = bool(found) and all(np.array_equal(a, b, equal_nan=True) for a, b in found)
    assert op.commutes == (same and op not in NEARLY)


def test_what_adds_is_declared() -> None:
    """Of parts of a sum the sum of their sums is the sum."""
    x = graphs.source((8,), int32)
    values = np.arange(3, 11, dtype=np.int32)
    adds = []
    for op in (op for op in OWN if op.kind is Kind.REDUCTION):
        try:
            node = op(x, axes=(0,))
        except (GraphcError, TypeError):
            continue
        halves = (np.concatenate([half, np.zeros(4, np.int32)]) for half in (values[:4], values[4:]))
        parts = [evaluate(node, [h]) for h in halves]
        if node.dtype is int32 and parts[0] + parts[1] == evaluate(node, [values]):
            adds.append(op)
    assert adds == [op for op in OWN if op.adds] == [ops.sum]
