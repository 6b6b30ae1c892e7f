"""What a kernel becomes: the text of one LLVM module, the tasks in it, and the memory they want besides the slots.

In: the bodies of functions. Out: functions with the native ABI, see `native`. Knows no lowering.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from graphc.dataclass import dataclass
from graphc.kernel import Slot

from .shared import Shared
from .text import Code

SLOT = re.compile(r"%s(\d+)")  # the address of a slot
PARAMETERS = "ptr %buffers, ptr %slots, i64 %low, i64 %high, i64 %task, ptr %context"


@dataclass(frozen=True)
class NativeTask:
    """One function of a kernel. `slots` are slots of the kernel, and behind them its scratch memory; the function
    counts its own slots in this order. Tasks of a kernel run one after the other. `prepares`: depends on nothing
    but its first slot's contents, so it may run once for many calls. `cost_ns`: what one thread takes, roughly."""

    symbol: str
    slots: tuple[int, ...]
    units: int
    grain: int = 1
    serial: bool = False
    prepares: bool = False
    cost_ns: float = 0.0


@dataclass(frozen=True)
class NativeKernel:
    """A kernel's machine-dependent form. `plans` and `notes` are for the report: what was chosen, what is slow.
    `shared`: what else it calls."""

    ir: str
    tasks: tuple[NativeTask, ...]
    scratch: tuple[Slot, ...] = ()
    plans: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    shared: tuple[Shared, ...] = ()


@dataclass(frozen=True)
class Lowered:
    """The functions of one stage of a kernel, their tasks, and what they need. `scratch` comes behind the slots that
    the stage was given."""

    functions: tuple[str, ...]
    tasks: tuple[NativeTask, ...]
    declarations: frozenset[str]
    notes: frozenset[str]
    plan: str
    reports: bool
    scratch: tuple[Slot, ...] = ()
    shared: tuple[Shared, ...] = ()


def finish_function(name: str, code: Code, slots: Sequence[int]) -> str:
    """The text of a task's function whose body is `code`, for a task with those slots."""
    find_slots(code, slots)
    code.do("ret void")
    return code.function(f"void @{name}({PARAMETERS})")


def find_slots(code: Code, slots: Sequence[int]) -> None:
    """Begin a function, whose body is written, with what makes %s<k> the address of slot k of the kernel, for those
    that occur in it. `slots`: of its task."""
    used = {int(k) for line in code.lines for k in SLOT.findall(line)}
    lines = []
    for place, k in enumerate(slots):
        if k not in used:
            continue
        lines += [
            f"  %n{k} = getelementptr i32, ptr %slots, i64 {place}",
            f"  %b{k} = load i32, ptr %n{k}",
            f"  %w{k} = sext i32 %b{k} to i64",
            f"  %p{k} = getelementptr ptr, ptr %buffers, i64 %w{k}",
            f"  %s{k} = load ptr, ptr %p{k}",
        ]
    code.lines[:0] = lines
