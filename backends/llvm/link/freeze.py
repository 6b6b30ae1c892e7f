"""What can be done before a program starts: in comes a program and what its memory holds once it is prepared, out comes
one with nothing to prepare and no variables.

So a standalone program starts with its weights packed, mapped from its file page by page as they are read; and weights
that were only packed or cast are not in the file a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from graphc.dataclass import replace
from graphc.schedule import Buffer, Space

from ..native import NativeProgram, Table, TaskSpec
from .tables import BuiltProgram, Origin

LASTING = (Space.CONSTANT, Space.PREPARED, Space.VARIABLE)


def freeze(built: BuiltProgram, contents: Callable[[Buffer], np.ndarray]) -> NativeProgram:
    """The program with every buffer that its tasks read, and no call changes, as a constant.

    `contents`: what such a buffer holds after the prepare tasks. The program must update no variable.
    """
    native = built.native
    used = native.main.buffers
    kept = [b for b in native.buffers if b.number in used or b.space in (Space.INPUT, Space.OUTPUT)]
    constants: list[np.ndarray] = []
    buffers: list[Buffer] = []
    for number, buffer in enumerate(kept):
        if buffer.space in LASTING:
            buffers.append(Buffer(number, buffer.type, Space.CONSTANT, len(constants), name=buffer.name))
            constants.append(contents(buffer))
        else:
            buffers.append(replace(buffer, number=number))
    numbers = {old.number: new for new, old in enumerate(kept)}
    return NativeProgram(
        native.objects,
        _renumbered(native.main, numbers, built.origins),
        Table(),
        tuple(buffers),
        native.arena_bytes,
        0,
        tuple(constants),
    )


def _renumbered(table: Table, numbers: dict[int, int], origins: Sequence[Origin]) -> Table:
    """The table on other numbers of buffers."""
    tasks = tuple(_task(t, numbers, o) for t, o in zip(table.tasks, origins, strict=True))
    steering = {-1: -1, **numbers}
    rows = tuple(
        replace(row, limit=steering[row.limit], test=steering[row.test], counter=steering[row.counter])
        for row in table.rows
    )
    windows = tuple(replace(w, buffer=numbers[w.buffer], of=numbers[w.of]) for w in table.windows)
    return Table(tasks, rows, windows, tuple((numbers[a], numbers[b]) for a, b in table.swaps))


def _task(task: TaskSpec, numbers: dict[int, int], origin: Origin) -> TaskSpec:
    """The task on other numbers of buffers, with the text of the user's line."""
    where = "" if origin.where is None else f"{origin.where}: {origin.where.text}".removesuffix(": ")
    return replace(task, slots=tuple(numbers[s] for s in task.slots), where=where)
