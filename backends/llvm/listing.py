"""A schedule's machine code as text for people to read: each distinct kernel once, each step that runs it.

In: a `Schedule`. Out: LLVM IR, or assembly, for this machine; generated anew, since the cache keeps objects only.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.kernel import Kernel
from graphc.schedule import Schedule

from . import jit
from .build import symbol_of
from .lower import lower
from .target import Target, host_target


def ir_listing(schedule: Schedule, target: Target | None = None) -> str:
    """The LLVM IR of a schedule. Raises UnsupportedError for a kernel that can't be lowered."""
    machine = target or host_target()
    return _listing(schedule, ";", lambda kernel: lower(kernel, machine, symbol_of(kernel)).ir)


def asm_listing(schedule: Schedule, target: Target | None = None) -> str:
    """The assembly of a schedule. Raises UnsupportedError for a kernel that can't be lowered."""
    machine = target or host_target()
    return _listing(
        schedule, "#", lambda kernel: jit.emit_assembly(lower(kernel, machine, symbol_of(kernel)).ir, machine)
    )


def _listing(schedule: Schedule, mark: str, text: Callable[[Kernel], str]) -> str:
    """The steps in order, above each distinct kernel's text."""
    parts: list[str] = []
    seen: dict[Kernel, int] = {}
    for title, steps in (("prepare", schedule.prepare), ("step", schedule.steps)):
        for number, step in enumerate(steps):
            is_new = step.kernel not in seen
            first = seen.setdefault(step.kernel, len(seen))
            places = f" ({', '.join(map(str, step.lines))})" if step.lines else ""
            parts.append(f"{mark} {title} {number}: {' '.join(step.ops)}{places}, kernel {first}")
            if is_new:
                parts.append(text(step.kernel))
    return "\n\n".join(parts)
