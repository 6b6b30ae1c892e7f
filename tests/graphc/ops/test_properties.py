"""What ops declare of themselves, so that passes need not name them, is true of what they compute."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from graphc import ops
from graphc.errors import GraphcError
from graphc.evaluate import evaluate
from graphc.index import Index
from graphc.ir import Node
from graphc.op import Kind, Op, registry
from graphc.passes.pulled import first_element, is_copying
from graphc.types import DType, bool_, float32, int32
from tests import graphs
from tests.contract.samples import samples_of

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


def looked_at(op: Op) -> list[tuple[Node, np.ndarray]]:
    """Views of tensors whose elements are their own places, with what is seen."""
    found = []
    for sample in samples_of(op.name, float32):
        node = op(*(graphs.source(t.shape, t.dtype) for t in sample.types), **sample.attrs)
        size = sample.types[0].size
        first = np.arange(size, dtype=np.float32).reshape(sample.types[0].shape)
        others = [np.full(a.shape, -1, a.dtype) for a in sample.arrays[1:]]
        if size:
            found.append((node, evaluate(node, [first, *others])))
    return found


VIEWS = [op for op in OWN if op.kind is Kind.VIEW]


@pytest.mark.parametrize("op", VIEWS, ids=str)
def test_views_that_only_put_elements_elsewhere_say_where(op: Op) -> None:
    seen = looked_at(op)
    once = all(sorted(y.reshape(-1)) == list(range(node.inputs[0].tensor_type.size)) for node, y in seen)
    assert (op.inverse is not None) == once and op.in_order == (once and all(is_sorted(y) for _, y in seen))
    for node, y in seen if op.inverse else ():
        for place, at in enumerate(np.ndindex(node.inputs[0].shape)):
            index = op.inverse(tuple(Index((), i) for i in at), *(i.type for i in node.inputs), **node.attrs)  # type: ignore[misc]
            assert y[tuple(i.constant for i in index)] == place


def is_sorted(y: np.ndarray) -> bool:
    return bool(np.all(np.diff(y.reshape(-1)) == 1))


@pytest.mark.parametrize("op", [op for op in VIEWS if not op.in_order], ids=str)
def test_views_of_neighbours_are_found_by_what_they_pull(op: Op) -> None:
    for node, y in looked_at(op):
        found = first_element(node)
        assert found is None or (y.reshape(-1)[0] == found and is_sorted(y))
        assert found is not None or not y.size or op in (ops.pad, ops.concat) or not is_sorted(y)


def test_views_that_copy_are_found_by_what_they_pull() -> None:
    x, one = graphs.source((4, 6), float32), ops.scalar_constant(1, float32)
    copying = [
        ops.concat(x, x, axis=0), ops.pad(x, one, low=(0, 0), high=(1, 0)), ops.permute(x, axes=(1, 0)),
        ops.slice(x, start=(0, 0), stop=(4, 6), step=(1, 2)),
    ]  # fmt: skip
    others = [
        ops.reshape(x, shape=(24,)), ops.flip(x, axes=(0, 1)), ops.slice(x, start=(1, 0), stop=(4, 6), step=(2, 1)),
        ops.broadcast(x, shape=(3, 4, 6), dims=(1, 2)), ops.permute(ops.reshape(x, shape=(4, 2, 3)), axes=(1, 0, 2)),
    ]  # fmt: skip
    assert all(map(is_copying, copying)) and not any(map(is_copying, others))
