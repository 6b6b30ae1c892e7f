"""Kernels that differ only in where they begin to read become one: an unrolled recurrent network reads x[0], x[1], …

In: a schedule. Out: one whose steps have windows on parts of their buffers, which stay where they are all through a
call, where that makes kernels equal. Machine code asks for no more alignment than elements have, so any part will do.
"""

from __future__ import annotations

from graphc.dataclass import dataclass, replace
from graphc.kernel import Kernel, Load, Slot
from graphc.schedule import Buffer, KernelStep, Schedule, Space, Window
from graphc.types import TensorType

VIEWED = frozenset({Space.INPUT, Space.ARENA})  # what lasts is packed once, which a window would hide


@dataclass(frozen=True)
class Viewed:
    """A schedule with windows that are set when a call begins. `kernels`: what became of kernels."""

    schedule: Schedule
    windows: tuple[Window, ...]
    kernels: dict[Kernel, Kernel]


@dataclass(frozen=True)
class _Part:
    """The elements of a slot that a kernel reads."""

    start: int
    size: int


def with_views(schedule: Schedule) -> Viewed:
    """The schedule with as few kernels as windows allow."""
    moved: dict[Kernel, tuple[Kernel, dict[int, _Part]]] = {}
    alike: dict[Kernel, set[Kernel]] = {}
    steps = [s for s in schedule.steps if isinstance(s, KernelStep)]
    for step in steps:
        if step.kernel not in moved:
            spaces = [schedule.buffers[b].space for b in step.buffers]
            parts = {s: p for s, p in _parts(step.kernel).items() if spaces[s] in VIEWED}
            moved[step.kernel] = _moved(step.kernel, parts), parts
        alike.setdefault(moved[step.kernel][0], set()).add(step.kernel)
    kernels = {kernel: new for kernel, (new, _) in moved.items() if len(alike[new]) > 1}
    buffers = list(schedule.buffers)
    windows: dict[tuple[int, _Part], Window] = {}

    def window(of: int, part: _Part) -> int:
        """The number of the buffer that is part of another one."""
        if (of, part) not in windows:
            whole = buffers[of]
            dtype = whole.type.dtype
            windows[of, part] = Window(len(buffers), of, 0, part.start * dtype.itemsize)
            buffers.append(Buffer(len(buffers), TensorType(dtype, (part.size,)), Space.WINDOW, name=whole.name))
        return windows[of, part].buffer

    def viewed(step: KernelStep) -> KernelStep:
        parts = moved[step.kernel][1]
        places = [window(b, parts[s]) if s in parts else b for s, b in enumerate(step.buffers)]
        return replace(step, kernel=kernels[step.kernel], buffers=tuple(places))

    new = [viewed(s) if isinstance(s, KernelStep) and s.kernel in kernels else s for s in schedule.steps]
    return Viewed(replace(schedule, steps=tuple(new), buffers=tuple(buffers)), tuple(windows.values()), kernels)


def _parts(kernel: Kernel) -> dict[int, _Part]:
    """The slots that a kernel only reads, and not as a whole, each with the part that it reads."""
    ends: dict[int, list[tuple[int, int]]] = {}
    unknown = set(kernel.written)
    for value in kernel.values:
        if isinstance(value, Load):
            if value.bounds or any(True for _ in value.index.gathered()):
                unknown.add(value.slot)
            ends.setdefault(value.slot, []).append(value.index.range())
    found = {}
    for slot in ends.keys() - unknown:
        low, high = min(a for a, _ in ends[slot]), max(b for _, b in ends[slot])
        size = kernel.slots[slot].size
        if 0 <= low <= high < size and high - low + 1 < size:
            found[slot] = _Part(low, high - low + 1)
    return found


def _moved(kernel: Kernel, parts: dict[int, _Part]) -> Kernel:
    """The kernel on these parts of its slots."""
    if not parts:
        return kernel
    slots = [Slot(s.dtype, parts[n].size, s.name) if n in parts else s for n, s in enumerate(kernel.slots)]
    values = [
        replace(v, index=v.index - parts[v.slot].start) if isinstance(v, Load) and v.slot in parts else v
        for v in kernel.values
    ]
    return replace(kernel, slots=tuple(slots), values=tuple(values))
