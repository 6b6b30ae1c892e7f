"""A schedule's machine code as text for people to read: each distinct kernel once, each step that runs it.

In: a `Schedule`. Out: LLVM IR, or assembly, for this machine; generated anew, since the cache keeps objects only.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.schedule import CallStep, KernelStep, Schedule, titled

from .calls import lower_work
from .emit.shared import Shared
from .link.build import Work, symbol_of
from .link.views import with_views
from .run import jit
from .target import Target, host_target


def ir_listing(schedule: Schedule, target: Target | None = None) -> str:
    """The LLVM IR of a schedule. Raises UnsupportedError for a kernel that can't be lowered."""
    machine = target or host_target()
    return _listing(schedule, ";", machine, lambda ir: ir)


def asm_listing(schedule: Schedule, target: Target | None = None) -> str:
    """The assembly of a schedule. Raises UnsupportedError for a kernel that can't be lowered."""
    machine = target or host_target()
    return _listing(schedule, "#", machine, lambda ir: jit.emit_assembly(ir, machine))


def _listing(schedule: Schedule, mark: str, machine: Target, text: Callable[[str], str]) -> str:
    """The steps in order, above the text of each distinct kernel; behind them, the code that kernels share."""
    parts: list[str] = []
    seen: dict[Work, int] = {}
    shared: dict[Shared, None] = {}
    for title, step in titled(with_views(schedule).schedule):
        places = f" ({', '.join(map(str, step.lines))})" if step.lines else ""
        head = f"{mark} {title}: {' '.join(step.ops)}{places}"
        if not isinstance(step, KernelStep | CallStep):
            parts.append(f"{head}, {step}")
            continue
        work = step.kernel if isinstance(step, KernelStep) else step.call
        is_new = work not in seen
        first = seen.setdefault(work, len(seen))
        parts.append(f"{head}, kernel {first}")
        if is_new:
            native = lower_work(work, machine, symbol_of(work))
            parts.append(text(native.ir))
            shared.update(dict.fromkeys(native.shared))
    for part in shared:
        parts += [f"{mark} {part.name}, which kernels share", text(part.ir)]
    return "\n\n".join(parts)
