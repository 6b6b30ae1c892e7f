"""One kernel to native code: which lowering it takes, the functions that come of it, what they need to run.

In: a `Kernel`, the machine, a name. Out: a `NativeKernel`: the text of one LLVM module, its tasks in order, scratch
memory. Knows nothing of programs, buffers or other kernels.
"""

from __future__ import annotations

from graphc.kernel import Kernel, KernelKind

from .blocking import block
from .contraction import lower_contraction
from .kernel_code import NativeKernel, NativeTask, finish_function
from .loops import emit_loop
from .plan import plan_loop, plan_reduction
from .reductions import emit_reduction
from .runtime import report_ir
from .target import Target
from .text import Code, module
from .values import Values


def lower(kernel: Kernel, target: Target, name: str) -> NativeKernel:
    """Generate the code of a kernel; its symbols begin with `name`. Raises UnsupportedError for what it can't do."""
    if any(a.size == 0 for a in kernel.parallel):
        return NativeKernel("", ())
    if kernel.kind is KernelKind.CONTRACTION:
        blocking = block(kernel, target)
        if blocking is not None:
            return lower_contraction(kernel, blocking, target, name)
    code = Code()
    is_loop = kernel.kind is KernelKind.LOOP
    plan = plan_loop(kernel, target) if is_loop else plan_reduction(kernel, target)
    values = Values(kernel, plan.axis, plan.lanes, code, target)
    emit_loop(values, plan) if is_loop else emit_reduction(values, plan)
    text = finish_function(name, code, range(len(kernel.slots)))
    ir = module([text], code.declarations, report_ir() if values.reports else "")
    task = NativeTask(name, tuple(range(len(kernel.slots))), plan.units, plan.grain, plan.serial)
    return NativeKernel(ir, (task,), (), (str(plan),), tuple(sorted(code.notes)))
