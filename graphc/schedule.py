"""Schedules: the kernels of a program in order, with every buffer at its planned place.

What `passes.schedule` makes of a graph and backends turn into an executable. No node survives here: a step
keeps the text of what it came from, for people to read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .errors import Location, ShapeError
from .ir import Literal
from .kernel import Kernel
from .types import TensorType

LARGEST = 1 << 46  # bytes: more than any memory has, and far from where 64-bit arithmetic ends


class Space(Enum):
    """Where a buffer lives."""

    INPUT = "input"           # the caller's array, only read
    VARIABLE = "variable"     # a Variable's own memory
    CONSTANT = "constant"     # part of the executable
    OUTPUT = "output"         # fresh memory that will belong to the caller
    ARENA = "arena"           # temporary, valid during one call; `offset` bytes into the arena
    PREPARED = "prepared"     # written by the prepare steps, valid until a Variable they read changes


@dataclass(frozen=True)
class Buffer:
    """A planned buffer. `position` counts within its space (which input, variable, constant, output);
    `offset` is in bytes, for ARENA and PREPARED, and a multiple of 64."""

    number: int
    type: TensorType
    space: Space
    position: int = 0
    offset: int = 0
    name: str = ""

    def __str__(self) -> str:
        place = f"+{self.offset}" if self.space in (Space.ARENA, Space.PREPARED) else f" {self.position}"
        return f"b{self.number}: {self.type} {self.space.value}{place}" + (f"  # {self.name}" if self.name else "")


@dataclass(frozen=True)
class ScheduleStep:
    """A kernel with its slots bound to buffers, and its history: the ops it computes, the user's lines they
    were traced at, and why it was not fused with its producers. `gathered_at`: the line to blame for a bad index."""

    kernel: Kernel
    buffers: tuple[int, ...]
    ops: tuple[str, ...]
    lines: tuple[Location, ...]
    reasons: tuple[str, ...]
    gathered_at: Location | None = None


@dataclass(frozen=True)
class Schedule:
    """All steps of a program. `constants` are the contents of the CONSTANT buffers, by position. `prepare` runs
    before the first call and whenever a Variable that it reads has changed."""

    buffers: tuple[Buffer, ...]
    constants: tuple[Literal, ...]
    prepare: tuple[ScheduleStep, ...]
    steps: tuple[ScheduleStep, ...]
    arena_bytes: int
    prepared_bytes: int

    def check_sizes(self) -> None:
        """Raise ShapeError for memory that is larger than any machine's: generated code counts its bytes in 64 bits."""
        sizes = [(b.type.nbytes, f"{b.type} ({b.name})") for b in self.buffers]
        sizes += [(self.arena_bytes, "all intermediate results"), (self.prepared_bytes, "all prepared work")]
        for size, what in sizes:
            if size > LARGEST:
                raise ShapeError("a program's memory is measured in terabytes at most (2**46 bytes)", got=what)

    def in_space(self, space: Space) -> tuple[Buffer, ...]:
        """The buffers of a space, by position."""
        return tuple(sorted((b for b in self.buffers if b.space is space), key=lambda b: b.position))

    def __str__(self) -> str:
        lines = [f"schedule arena {self.arena_bytes} bytes, prepared {self.prepared_bytes} bytes"]
        lines += [f"  {b}" for b in self.buffers]
        for title, steps in (("prepare", self.prepare), ("step", self.steps)):
            for number, step in enumerate(steps):
                bound = ", ".join(f"s{i}=b{b}" for i, b in enumerate(step.buffers))
                lines.append(f"{title} {number}: {' '.join(step.ops)}  ({bound})")
                lines += [f"  # {line}" for line in step.lines]
                lines += [f"  # apart: {reason}" for reason in step.reasons]
                lines += [f"  {line}" for line in str(step.kernel).splitlines()]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)
