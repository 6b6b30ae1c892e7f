"""The function that kernels call when a gathered index is outside. It goes into each module that needs it, so that
kernels depend on no other object."""

from __future__ import annotations

from ..native import Context
from .text import Code


def report_ir() -> str:
    """`call void @report(ptr %context, i64 %task, i64 %index)`: the first one wins."""
    code = Code()
    status = code.let("add i64 %task, 1")
    _, is_first = code.exchange_atomic("i64", code.field(Context, "%context", "status"), 0, status)
    with code.when(is_first):
        code.put(Context, "%context", "bad_index", "%index")
    code.do("ret void")
    return code.function("internal void @report(ptr %context, i64 %task, i64 %index)", "noinline nounwind cold")
