"""Loops: a closed body graph, run a known number of times over slices (`scan`), or as long as a condition holds.

A body knows nothing of what is around it: its inputs are all that it takes. Three parts come in always in this order:
*consts*, the same in each iteration; *carries*, which an iteration hands to the next one; and slices along the first
axis. How loops are differentiated is told in `loop_gradients.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import CompileError
from ..evaluate import evaluate_graph
from ..ir import Graph
from ..op import Kind
from ..types import TensorType, TupleType, Type, bool_, int64
from .bodies import LoopInputs, require_closed, stacked
from .declare import op
from .loop_gradients import scan_vjp, while_vjp


def _require_carried(op: str, body: Graph, carries: Sequence[TensorType]) -> None:
    found = [o.tensor_type for o in body.outputs[: len(carries)]]
    if found != list(carries):
        got = f"({', '.join(map(str, found))}) for ({', '.join(map(str, carries))})"
        raise CompileError(f"the body of {op} gives each carry the type that it takes", got=got)


def _tensors(op: str, types: Sequence[Type]) -> list[TensorType]:
    tensors = [t for t in types if isinstance(t, TensorType)]
    if len(tensors) < len(types):
        raise CompileError(f"{op} takes tensors", got=" and ".join(map(str, types)))
    return tensors


def _scan_type(
    *types: Type, body: Graph, consts: int, carries: int, length: int, reverse: bool, counted: bool
) -> TupleType:
    given = LoopInputs.of(_tensors("scan", types), consts, carries, counted)
    if counted and [str(t) for t in given.steps] != ["int64[]"]:
        raise CompileError("the number of steps of a counted scan is one int64", got=str(given.steps))
    if length < 0 or any(t.shape[:1] != (length,) for t in given.slices):
        raise CompileError("scan takes slices along first axes of its length", got=f"{length}, {given.slices}")
    rows = [t.with_shape(t.shape[1:]) for t in given.slices]
    require_closed("scan", "body", body, (*given.consts, *given.carries, *rows))
    _require_carried("scan", body, given.carries)
    made = (stacked(o.tensor_type, length) for o in body.outputs[carries:])
    return TupleType((*given.carries, *made))


def _stacks(body: Graph, carries: int, length: int) -> list[np.ndarray]:
    return [np.zeros((length, *o.shape), o.dtype.numpy) for o in body.outputs[carries:]]


# `length` iterations, or as many of them as `steps` says if `counted`.
#
#     scan(steps?, *consts, *init, *xs) {body, consts = n, carries = m, length, reverse, counted} → (*carries, *ys)
#     body(*consts, *carries, *(x[row] for x in xs)) → (*carries, *(y[row] for y in ys))
#
# Iterations take the rows 0, 1, …, steps − 1, or from steps − 1 down to 0 if `reverse`. Without iterations, carries are
# what they were at the start. Rows of ys that no iteration has made are 0. `steps`, an int64, is taken as 0 … length.
@op(Kind.CONTROL, _scan_type, scan_vjp)
def scan(
    *arrays: np.ndarray, body: Graph, consts: int, carries: int, length: int, reverse: bool, counted: bool
) -> tuple[np.ndarray, ...]:
    given = LoopInputs.of(arrays, consts, carries, counted)
    steps = min(max(int(given.steps[0]), 0), length) if counted else length
    state = list(given.carries)
    made = _stacks(body, carries, length)
    for row in reversed(range(steps)) if reverse else range(steps):
        results, _ = evaluate_graph(body, [*given.consts, *state, *(x[row] for x in given.slices)])
        state = results[:carries]
        for stack, result in zip(made, results[carries:], strict=True):
            stack[row] = result
    return (*state, *made)


def _while_type(
    *types: Type, cond: Graph, body: Graph, consts: int, carries: int, max_steps: int | None
) -> TupleType:
    given = _tensors("while_loop", types)
    if len(given) != consts + carries:
        raise CompileError("while_loop takes consts and carries", got=f"{len(given)} inputs for {consts} and {carries}")
    if max_steps is not None and max_steps < 0:
        raise CompileError("while_loop takes 0 or more steps", got=str(max_steps))
    require_closed("while_loop", "cond", cond, given)
    require_closed("while_loop", "body", body, given)
    _require_carried("while_loop", body, given[consts:])
    if [o.type for o in cond.outputs] != [TensorType(bool_, ())]:
        raise CompileError("the cond of while_loop gives one bool", got=str([str(o.type) for o in cond.outputs]))
    made = body.outputs[carries:]
    if made and max_steps is None:
        raise CompileError("a while_loop that stacks has max_steps", got=f"{len(made)} stacks")
    rows = (stacked(o.tensor_type, max_steps or 0) for o in made)
    return TupleType((*given[consts:], TensorType(int64, ()), *rows))


# Iterations for as long as `cond` holds, at most `max_steps` of them if that is given.
#
#     while_loop(*consts, *init) {cond, body, consts = n, carries = m, max_steps} → (*carries, steps, *ys)
#     cond(*consts, *carries) → bool[]
#     body(*consts, *carries) → (*carries, *(y[row] for y in ys))
#
# `steps`, an int64, is the number of iterations that there were. Only with `max_steps`, which is then the number of
# their rows, there may be ys; iteration i makes row i, and rows that none has made are 0.
@op(Kind.CONTROL, _while_type, while_vjp)
def while_loop(
    *arrays: np.ndarray, cond: Graph, body: Graph, consts: int, carries: int, max_steps: int | None
) -> tuple[np.ndarray, ...]:
    fixed, state = arrays[:consts], list(arrays[consts:])
    made = _stacks(body, carries, max_steps or 0)
    steps = 0
    while max_steps is None or steps < max_steps:
        (goes_on,), _ = evaluate_graph(cond, [*fixed, *state])
        if not goes_on:
            break
        results, _ = evaluate_graph(body, [*fixed, *state])
        state = results[:carries]
        for stack, result in zip(made, results[carries:], strict=True):
            stack[steps] = result
        steps += 1
    return (*state, np.asarray(steps, np.int64), *made)
