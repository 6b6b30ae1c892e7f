"""Calls as steps: an op that is no loop nest goes from its declaration to native code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.backends.llvm import calls
from graphc.backends.llvm.emit.kernel_code import NativeKernel, NativeTask, finish_function
from graphc.backends.llvm.emit.text import Code, module
from graphc.backends.llvm.target import Target
from graphc.dataclass import dataclass
from graphc.errors import UnsupportedError
from graphc.frontend.emit import as_tensor, emit_items
from graphc.kernel import Call, Slot
from graphc.op import Kind, Op
from graphc.ops.rules import no_gradient
from graphc.schedule import CallStep, leaves
from graphc.types import TensorType, TupleType, float32, int64
from tests.schedule_interpreter import run_schedule

F: Any = np.float32


@dataclass(frozen=True)
class Extremes(Call):
    """The running maximum of a vector, and where it last rose: what a loop nest can't say."""

    size: int

    @property
    def slots(self) -> tuple[Slot, ...]:
        return Slot(float32, self.size, "x"), Slot(float32, self.size, "most"), Slot(int64, self.size, "where")

    @property
    def written(self) -> frozenset[int]:
        return frozenset({1, 2})

    def run(self, memory: Sequence[np.ndarray]) -> None:
        memory[1][:], memory[2][:] = extremes(memory[0])


def extremes(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    most = np.maximum.accumulate(x)
    return most, np.maximum.accumulate(np.where(np.diff(most, prepend=-np.inf) > 0, np.arange(x.size), 0))


def type_of(x: TensorType) -> TupleType:
    return TupleType((x, TensorType(int64, x.shape)))


running = Op("user_extremes", Kind.CALL, infer=type_of, reference=extremes, vjp=no_gradient,
             call=lambda wanted, x: Extremes(x.size))  # fmt: skip


def lower(call: Extremes, target: Target, name: str) -> NativeKernel:
    code = Code()
    with code.loop("0", call.size, carried=(("float", "0xFFF0000000000000"), ("i64", "0"))) as loop:
        most, where = loop.carried
        x = code.let(f"load float, ptr {code.element('%s0', 'float', loop.index)}")
        rises = code.let(f"fcmp ogt float {x}, {most}")
        loop.next = [code.let(f"select i1 {rises}, float {x}, float {most}"),
                     code.let(f"select i1 {rises}, i64 {loop.index}, i64 {where}")]  # fmt: skip
        for slot, type_, value in (("%s1", "float", loop.next[0]), ("%s2", "i64", loop.next[1])):
            code.do(f"store {type_} {value}, ptr {code.element(slot, type_, loop.index)}")
    task = NativeTask(name, (0, 1, 2), 1, serial=True, cost_ns=call.size)
    return NativeKernel(module([finish_function(name, code, (0, 1, 2))], code.declarations), (task,))


@pytest.fixture(autouse=True)
def _lowering(monkeypatch: pytest.MonkeyPatch) -> None:
    lowerings: dict[Any, Any] = {**calls.CALLS, Extremes: lower}
    monkeypatch.setattr(calls, "CALLS", lowerings)


def rising(x: Any) -> Any:
    most, where = emit_items(running, [as_tensor(x)])
    return most * 2, where, gx.sum(most)


X = np.array([1, 0, 3, 2, 5, 5, 4], F)


def test_a_call_is_a_step() -> None:
    plan = gx.compile(rising).schedule(X)
    (step,) = [s for s in leaves(plan.steps) if isinstance(s, CallStep)]
    assert step.ops == ("user_extremes",) and "call Extremes(size=7)" in str(plan)
    most, where = extremes(X)
    found = run_schedule(plan, [X])
    assert found[0].tolist() == (most * 2).tolist() and found[1].tolist() == where.tolist()


def test_native_code_carries_it_out(tmp_path: Path) -> None:
    run = gx.compile(rising)
    most, where = extremes(X)
    for _ in range(2):
        a, b, c = run(X)
        assert a.tolist() == (most * 2).tolist() and b.tolist() == where.tolist() and c.item() == most.sum()
    assert "call of Extremes" in str(run.report(X)) and "define void @kernel_" in run.source(X, stage="llvm-ir")
    run.build(tmp_path / "p", kind="package", inputs=[X])
    assert gx.load(tmp_path / "p")(X)[1].tolist() == where.tolist()


def test_a_call_in_a_loop() -> None:
    def f(x: Any) -> Any:
        return gx.scan(lambda c, _: (emit_items(running, [c])[0][::-1] - 1, gx.sum(c)), x, length=3)

    with gx.using(backend="reference"):
        expected = gx.compile(f)(X)
    found = gx.compile(f)(X)
    assert found[0].tolist() == expected[0].tolist() and found[1].tolist() == expected[1].tolist()


def test_a_backend_without_a_way_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "CALLS", {})
    with gx.using(backend="llvm"), pytest.raises(UnsupportedError, match="no way to carry out this call"):
        gx.compile(lambda x: rising(x)[0])(np.ones(9, F))


