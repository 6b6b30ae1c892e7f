"""One kernel to native code: which lowering it takes, the functions that come of it, what they need to run.

In: a `Kernel`, the machine, a name. Out: a `NativeKernel`: the text of one LLVM module, its tasks in order, scratch
memory. Knows nothing of programs, buffers or other kernels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from graphc.dataclass import replace
from graphc.errors import UnsupportedError
from graphc.index import axes_size
from graphc.kernel import Dot, Kernel, KernelKind, Slot

from ..kernels.spread import Stages
from .emit.kernel_code import Lowered, NativeKernel, NativeTask, finish_function
from .emit.report import report_ir
from .emit.text import Code, module
from .nests.loops import emit_loop
from .nests.plan import plan_loop, plan_reduction
from .nests.reductions import emit_reduction
from .nests.values import Values
from .products.blocking import block
from .products.contraction import lower_contraction
from .stages import stages_of
from .target import Target


def lower(kernel: Kernel, target: Target, name: str) -> NativeKernel:
    """Generate the code of a kernel; its symbols begin with `name`. Raises UnsupportedError for what it can't do."""
    if kernel.kind is KernelKind.ATTENTION:
        return _lower_attention(kernel, target, name)
    stages = stages_of(kernel, target)
    native = _in_stages(kernel, target, name, stages.scratch, stages.kernels, [])
    return replace(native, notes=tuple(sorted({*native.notes, *slow_ways(kernel, stages, native.tasks)})))


def _lower_attention(kernel: Kernel, target: Target, name: str) -> NativeKernel:
    """As `lower`. Few programs have any, and much code is for them only."""
    from .attention.lowering import lower_attention
    from .attention.plan import plan_attention
    from .products.whole_rows import Rows, lower_rows, plan_rows, rows_of

    rows = rows_of(kernel, target)
    if isinstance(rows, Rows):
        whole = plan_rows(kernel, rows, target)
        return _in_stages(kernel, target, name, whole.states, whole.totals, [lower_rows(whole, name)])
    plan = plan_attention(kernel, target)
    if isinstance(plan, str):
        raise UnsupportedError(f"the llvm backend has no lowering of {plan}, or of {rows}", got=str(kernel))
    return assemble([lower_attention(plan, name)], ())


def refusal(kernel: Kernel, target: Target) -> str:
    """Why there is no lowering of a kernel of kind ATTENTION; empty where there is one."""
    from .attention.plan import plan_attention
    from .products.whole_rows import Rows, rows_of

    rows = rows_of(kernel, target)
    if isinstance(rows, Rows):
        return ""
    plan = plan_attention(kernel, target)
    return f"{plan}, or of {rows}" if isinstance(plan, str) else ""


def _in_stages(
    kernel: Kernel, target: Target, name: str, scratch: Iterable[Slot], stages: Sequence[Kernel], parts: list[Lowered]
) -> NativeKernel:
    """`parts`, and behind them stages, which share scratch memory."""
    memory = [*scratch, *(s for p in parts for s in p.scratch)]
    for stage in stages:
        stage = replace(stage, slots=(*kernel.slots, *memory))
        parts.append(lower_stage(stage, target, f"{name}_{len(parts)}" if parts else name))
        memory += parts[-1].scratch
    return assemble(parts, memory)


def assemble(parts: Sequence[Lowered], scratch: Sequence[Slot]) -> NativeKernel:
    """The stages of a kernel as one module."""
    declarations = {d for p in parts for d in p.declarations}
    functions = [f for p in parts for f in p.functions]
    ir = module(functions, declarations, report_ir() if any(p.reports for p in parts) else "") if parts else ""
    tasks, plans = tuple(t for p in parts for t in p.tasks), tuple(p.plan for p in parts)
    notes, shared = {n for p in parts for n in p.notes}, dict.fromkeys(s for p in parts for s in p.shared)
    return NativeKernel(ir, tasks, tuple(scratch), plans, tuple(sorted(notes)), tuple(shared))


MANY_POINTS = 1 << 14  # from which it matters that only one thread works


def slow_ways(kernel: Kernel, stages: Stages, tasks: Sequence[NativeTask]) -> Iterator[str]:
    """What the report should say of a kernel that a better lowering would suit."""
    has_tiles = any(k.kind is KernelKind.CONTRACTION for k in stages.kernels)
    for value in kernel.values:
        if isinstance(value, Dot) and not has_tiles:
            a, b = (kernel.axes[i] - set(value.axes) for i in value.inputs)
            if a - b and b - a:
                yield "a product of matrices summed without tiles"
    large = axes_size(kernel.parallel) > MANY_POINTS
    if kernel.kind is KernelKind.INDEXED and large and any(t.units == 1 for t in tasks):
        yield "a scatter that one thread does"
    points = axes_size((*kernel.parallel, *kernel.row))
    if kernel.in_order and points > MANY_POINTS and any(t.units == 1 for t in tasks):
        yield "cumulative values along a row that one thread goes along"


def lower_stage(kernel: Kernel, target: Target, name: str) -> Lowered:
    """A contraction to its tasks, any other loop nest to one function."""
    if kernel.kind is KernelKind.CONTRACTION:
        blocking = block(kernel, target)
        assert blocking is not None, "stages leave contractions only where they can be tiled"
        return lower_contraction(kernel, blocking, target, name)
    code = Code()
    is_loop = kernel.kind is KernelKind.LOOP
    plan = plan_loop(kernel, target) if is_loop else plan_reduction(kernel, target)
    values = Values(kernel, plan.axis, plan.lanes, code, target)
    emit_loop(values, plan) if is_loop else emit_reduction(values, plan)
    used = tuple(sorted(kernel.loaded | kernel.written))
    task = NativeTask(name, used, plan.units, plan.grain, plan.serial, cost_ns=plan.cost_ns)
    text = finish_function(name, code, used)
    declarations, notes = frozenset(code.declarations), frozenset(code.notes)
    return Lowered((text,), (task,), declarations, notes, str(plan), values.reports)
