"""The function that kernels call when a gathered index is outside. It goes into each module that needs it, so that
kernels depend on no other object."""

from __future__ import annotations

from string import Template

from ..native import Context

_REPORT = """
define internal void @report(ptr %context, i64 %task, i64 %index) noinline nounwind cold {
  %status.at = getelementptr i8, ptr %context, i64 $context_status
  %status = add i64 %task, 1
  %pair = cmpxchg ptr %status.at, i64 0, i64 %status monotonic monotonic
  %first = extractvalue { i64, i1 } %pair, 1
  br i1 %first, label %keep, label %done
keep:
  %index.at = getelementptr i8, ptr %context, i64 $context_bad_index
  store i64 %index, ptr %index.at
  ret void
done:
  ret void
}
"""


def report_ir() -> str:
    """`call void @report(ptr %context, i64 %task, i64 %index)`: the first one wins."""
    return Template(_REPORT).substitute(
        context_status=Context.status.offset, context_bad_index=Context.bad_index.offset
    )
