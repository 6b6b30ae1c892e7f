"""A choice between closed graphs, of which one is run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import CompileError
from ..evaluate import evaluate_graph
from ..ir import Graph
from ..op import Kind, Op
from ..types import TensorType, TupleType, Type, int32
from .loops import require_closed


def branch_attrs(branches: tuple[Graph, ...]) -> dict[str, Graph]:
    """The attrs of a switch between these."""
    return {f"branch{i}": branch for i, branch in enumerate(branches)}


def branches_of(attrs: Mapping[str, Graph]) -> tuple[Graph, ...]:
    """The branches of a switch in their order, which is not that of their names."""
    return tuple(attrs[f"branch{i}"] for i in range(len(attrs)))


def _switch_type(index: Type, *types: TensorType, **branches: Graph) -> TupleType:
    if index != TensorType(int32, ()):
        raise CompileError("the index of switch is one int32", got=str(index))
    if set(branches) != {f"branch{i}" for i in range(max(len(branches), 1))}:
        raise CompileError("switch has branches that are numbered from 0", got=str(list(branches)))
    results = []
    for name, branch in branches.items():
        require_closed("switch", name, branch, types)
        results.append(tuple(o.tensor_type for o in branch.outputs))
    if len(set(results)) > 1:
        raise CompileError("the branches of switch give results of the same types",
                           got=" and ".join(str(TupleType(r)) for r in results))  # fmt: skip
    return TupleType(results[0])


def _switch(index: np.ndarray, *arrays: np.ndarray, **branches: Graph) -> tuple[np.ndarray, ...]:
    chosen = min(max(int(index), 0), len(branches) - 1)
    results, _ = evaluate_graph(branches[f"branch{chosen}"], arrays)
    return tuple(results)


# The results of one of the branches, for the same inputs; no other one is run.
#
#     switch(index, *inputs) {branch0, branch1, …} → (*results)
#
# The index, an int32, is taken as the nearest branch's. A condition is a switch between what to do if it is false, the
# first branch, and if it is true.
switch: Op = Op("switch", Kind.CONTROL, infer=_switch_type, reference=_switch)
