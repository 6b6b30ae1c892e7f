"""One kernel to native code: which lowering it takes, the functions that come of it, what they need to run.

In: a `Kernel`, the machine, a name. Out: a `NativeKernel`: the text of one LLVM module, its tasks in order, scratch
memory. Knows nothing of programs, buffers or other kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.kernel import Kernel, KernelKind, Slot

from .loops import emit_loop
from .plan import Plan, plan_loop
from .runtime import report_ir
from .target import Target
from .text import Code, module
from .values import Values

PARAMETERS = "ptr %buffers, ptr %slots, i64 %low, i64 %high, i64 %task, ptr %context"


@dataclass(frozen=True)
class NativeTask:
    """One function of a kernel. `slots` are slots of the kernel, and behind them its scratch memory; the function
    counts its own slots in this order. Tasks of a kernel run one after the other. `prepares`: depends on nothing
    but its first slot's contents, so it may run once for many calls."""

    symbol: str
    slots: tuple[int, ...]
    units: int
    grain: int = 1
    serial: bool = False
    prepares: bool = False


@dataclass(frozen=True)
class NativeKernel:
    """A kernel's machine-dependent form. `plans` and `notes` are for the report: what was chosen, what is slow."""

    ir: str
    tasks: tuple[NativeTask, ...]
    scratch: tuple[Slot, ...] = ()
    plans: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def lower(kernel: Kernel, target: Target, name: str) -> NativeKernel:
    """Generate the code of a kernel; its symbols begin with `name`. Raises UnsupportedError for what it can't do."""
    if any(a.size == 0 for a in kernel.parallel):
        return NativeKernel("", ())
    code = Code()
    plan = plan_loop(kernel, target)
    values = Values(kernel, plan.axis, plan.lanes, code, target)
    emit_loop(values, plan)
    text = finish_function(name, code, len(kernel.slots))
    ir = module([text], code.declarations, report_ir() if values.reports else "")
    task = NativeTask(name, tuple(range(len(kernel.slots))), plan.units, plan.grain, plan.serial)
    return NativeKernel(ir, (task,), (), (str(plan),), tuple(sorted(code.notes)))


def finish_function(name: str, code: Code, slots: int) -> str:
    """The text of a kernel function whose body is `code`: it finds the addresses of its slots first."""
    prologue = []
    for k in range(slots):
        prologue += [
            f"  %n{k} = getelementptr i32, ptr %slots, i64 {k}",
            f"  %b{k} = load i32, ptr %n{k}",
            f"  %w{k} = sext i32 %b{k} to i64",
            f"  %p{k} = getelementptr ptr, ptr %buffers, i64 %w{k}",
            f"  %s{k} = load ptr, ptr %p{k}",
        ]
    code.lines[:0] = prologue
    code.do("ret void")
    return code.function(f"void @{name}({PARAMETERS})")
