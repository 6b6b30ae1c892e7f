"""One kernel to native code: which lowering it takes, the functions that come of it, what they need to run.

In: a `Kernel`, the machine, a name. Out: a `NativeKernel`: the text of one LLVM module, its tasks in order, scratch
memory. Knows nothing of programs, buffers or other kernels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from graphc.index import axes_size
from graphc.kernel import Dot, Kernel, KernelKind

from .blocking import block
from .contraction import lower_contraction
from .kernel_code import NativeKernel, NativeTask, finish_function
from .loops import emit_loop
from .plan import plan_loop, plan_reduction
from .reductions import emit_reduction
from .runtime import report_ir
from .stages import stages_of
from .target import Target
from .text import Code, module
from .values import Values


def lower(kernel: Kernel, target: Target, name: str) -> NativeKernel:
    """Generate the code of a kernel; its symbols begin with `name`. Raises UnsupportedError for what it can't do."""
    if kernel.kind is KernelKind.CONTRACTION:
        blocking = block(kernel, target)
        if blocking is not None:
            return lower_contraction(kernel, blocking, target, name)
    stages = stages_of(kernel, target)
    parts = [lower_stage(k, target, f"{name}_{i}" if i else name) for i, k in enumerate(stages.kernels)]
    declarations = {d for p in parts for d in p.declarations}
    needs_report = any(p.reports for p in parts)
    ir = module([p.text for p in parts], declarations, report_ir() if needs_report else "") if parts else ""
    notes = sorted({note for p in parts for note in p.notes} | set(slow_ways(kernel, parts)))
    tasks, plans = tuple(p.task for p in parts), tuple(p.plan for p in parts)
    return NativeKernel(ir, tasks, stages.scratch, plans, tuple(notes))


MANY_POINTS = 1 << 14  # from which it matters that only one thread works


def slow_ways(kernel: Kernel, parts: Sequence[Lowered]) -> Iterator[str]:
    """What the report should say of a kernel that a better lowering would suit."""
    for value in kernel.values:
        if isinstance(value, Dot):
            a, b = (kernel.axes[i] - set(value.axes) for i in value.inputs)
            if a - b and b - a:
                yield "a product of matrices summed without tiles"
    large = axes_size(kernel.parallel) > MANY_POINTS
    if kernel.kind is KernelKind.INDEXED and large and any(p.task.units == 1 for p in parts):
        yield "a scatter that one thread does"


@dataclass(frozen=True)
class Lowered:
    """One function and what it needs."""

    task: NativeTask
    text: str
    declarations: frozenset[str]
    notes: frozenset[str]
    plan: str
    reports: bool


def lower_stage(kernel: Kernel, target: Target, name: str) -> Lowered:
    """One loop nest to one function."""
    code = Code()
    is_loop = kernel.kind is KernelKind.LOOP
    plan = plan_loop(kernel, target) if is_loop else plan_reduction(kernel, target)
    values = Values(kernel, plan.axis, plan.lanes, code, target)
    emit_loop(values, plan) if is_loop else emit_reduction(values, plan)
    used = tuple(sorted(kernel.loaded | kernel.written))
    task = NativeTask(name, used, plan.units, plan.grain, plan.serial, cost_ns=plan.cost_ns)
    text = finish_function(name, code, used)
    return Lowered(task, text, frozenset(code.declarations), frozenset(code.notes), str(plan), values.reports)
