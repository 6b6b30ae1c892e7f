"""The fuzzer finds what is wrong: one rule of one op at a time is replaced by a wrong one."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pytest

from graphc import ops
from graphc.dataclass import dataclass, replace
from graphc.op import Op, Piece
from graphc.ops.rules import no_gradient
from graphc.passes.recipes import reduction_recipes, running_recipes
from graphc.passes.rewrite import Exactness, Rule, RuleSet
from graphc.scalar import Builder, Scalar

from .checks import Run, Summary, check_on, check_seeds
from .control import random_control_case
from .random_graphs import drawable
from .slopes import check_slopes

assert ops.dot_general.contraction is not None
_contraction = ops.dot_general.contraction
ROUNDS = 32  # seeds in which an op is drawn for sure; most faults show in the first


@dataclass(frozen=True)
class Fault:
    """A declaration's field, and what to put in its place."""

    op: Op
    field: str
    wrong: Any

    def __str__(self) -> str:
        return f"{self.field} of {self.op.name}"


def _towards_zero(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    if a.dtype.is_float:
        return s.trunc(a / b)
    one = s.select(s.eq(b, 0), 1, b)
    return s.select(s.eq(b, 0), 0, s.quot(a, one))


def _from_the_start(index: Any, x: Any, start: Any, stop: Any, step: Any) -> tuple[Piece]:
    return (Piece(0, tuple(i * s for i, s in zip(index, step, strict=True))),)


def _backwards(index: Any, contracted: Any, *types: Any, **attrs: Any) -> tuple[Piece, Piece]:
    """One operand of a contraction is walked from the other end."""
    sizes = _contraction.sizes(*types, **attrs)
    turned = tuple(k * -1 + (size - 1) for k, size in zip(contracted, sizes, strict=True))
    a, _ = _contraction.operands(index, turned, *types, **attrs)
    _, b = _contraction.operands(index, contracted, *types, **attrs)
    return a, b


assert ops.sort.call is not None
_sort_call = ops.sort.call


def _monoid(op: Op, **changes: Any) -> Any:
    assert op.monoid is not None
    return replace(op.monoid, **changes)


def _running(op: Op, **changes: Any) -> Any:
    assert op.running is not None
    return replace(op.running, **changes)


KERNEL_FAULTS = [
    Fault(ops.sin, "scalar", lambda s, x: s.cos(x)),
    Fault(ops.subtract, "scalar", lambda s, a, b: b - a),
    Fault(ops.floor_divide, "scalar", _towards_zero),
    Fault(ops.select, "scalar", lambda s, mask, a, b: s.select(mask, b, a)),
    Fault(ops.flip, "pull", lambda index, x, axes: (Piece(0, index),)),
    Fault(ops.slice, "pull", _from_the_start),
    Fault(ops.max, "monoid", _monoid(ops.max, init=lambda dtype: (0,))),
    Fault(ops.sum, "monoid", _monoid(ops.sum, init=lambda dtype: (1,))),
    Fault(ops.argmax, "monoid", _monoid(ops.argmax, finish=lambda s, state: state[1] + 1)),
    Fault(ops.cumulative_sum, "running", _running(ops.cumulative_sum, init=lambda dtype: (1,))),
    Fault(ops.cumulative_max, "running", _running(ops.cumulative_max, combine=lambda s, a, b: b)),
    Fault(ops.sort, "call", lambda wanted, x, descending: _sort_call(wanted, x, not descending)),
    Fault(ops.iota, "position", lambda index, type, axis: index[axis] + 1),
    Fault(ops.dot_general, "contraction", replace(_contraction, operands=_backwards)),
]  # fmt: skip

GRADIENT_FAULTS = [
    Fault(ops.tanh, "vjp", lambda g, y, x: (g,)),
    Fault(ops.multiply, "vjp", lambda g, y, a, b: (ops.multiply(g, b), None)),
    Fault(ops.sum, "vjp", lambda g, y, x, axes: (None,)),
    Fault(ops.flip, "vjp", lambda g, y, x, axes: (g,)),
    Fault(ops.cumulative_sum, "vjp", lambda g, y, x, axis: (g,)),
    Fault(ops.maximum, "vjp", lambda g, y, a, b: (g, g)),
    Fault(ops.sort, "vjp", lambda g, y, x, descending: (g[0],)),
]


def _changed(op: Op, **changes: Callable[[Any], Any]) -> Fault:
    """The gradient rule of a control op, which believes that some attrs are others."""
    right = op.vjp
    assert right is not None

    def wrong(g: Any, y: Any, *inputs: Any, **attrs: Any) -> Any:
        return right(g, y, *inputs, **(attrs | {name: change(attrs) for name, change in changes.items()}))

    return Fault(op, "vjp", wrong)


CONTROL_FAULTS = [
    _changed(ops.scan, reverse=lambda a: not a["reverse"]),
    _changed(ops.scan, wanted=lambda a: (*a["wanted"][:-1], False)),
    Fault(ops.while_loop, "vjp", no_gradient),
    _changed(ops.switch, branch0=lambda a: a["branch1"] if "branch1" in a else a["branch0"]),
    Fault(ops.checkpoint, "vjp", no_gradient),
]


@contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """The wrong declaration, for as long as it is asked for."""
    right = getattr(fault.op, fault.field)
    _put(fault, fault.wrong)
    try:
        yield
    finally:
        _put(fault, right)


def _put(fault: Fault, value: Any) -> None:
    object.__setattr__(fault.op, fault.field, value)
    reduction_recipes.cache_clear()
    running_recipes.cache_clear()


def failing(op: Op, check: Callable[[int, Summary], None]) -> bool:
    """Whether a check fails within the seeds that draw the op in their turn."""
    count, turn = len(drawable()), drawable().index(op)
    seeds = islice(range(turn, turn + ROUNDS * count, count), ROUNDS)
    for seed in seeds:
        for text in check_seeds(range(seed, seed + 1), check).failures.values():
            assert text.startswith("AssertionError: result") or "slope" in text, text
            return True
    return False


@pytest.mark.parametrize("fault", KERNEL_FAULTS, ids=str)
def test_wrong_lowerings_are_found(fault: Fault, llvm: Run):
    def check(seed: int, summary: Summary) -> None:
        check_on(llvm, seed, summary, plain=False)

    with planted(fault):
        assert failing(fault.op, check)


@pytest.mark.parametrize("fault", GRADIENT_FAULTS, ids=str)
def test_wrong_gradients_are_found(fault: Fault):
    with planted(fault):
        assert failing(fault.op, check_slopes)


@pytest.mark.parametrize("fault", CONTROL_FAULTS, ids=str)
def test_wrong_gradients_of_loops_and_branches_are_found(fault: Fault):
    with planted(fault):
        for seed in range(800):
            summary = check_seeds(range(seed, seed + 1), lambda n, s: check_slopes(n, s, random_control_case))
            if any("slope" in text for text in summary.failures.values()):
                return
    raise AssertionError("not found")


def test_wrong_rewrite_rules_are_found(llvm: Run, monkeypatch: pytest.MonkeyPatch):
    wrong = Rule("cos is sin", (ops.cos,), lambda n: ops.sin(n.inputs[0]), Exactness.BITWISE, list)
    simplify = importlib.import_module("graphc.passes.simplify")
    monkeypatch.setattr(simplify, "RULES", RuleSet([wrong]))
    assert failing(ops.cos, lambda seed, summary: check_on(llvm, seed, summary, plain=False))
