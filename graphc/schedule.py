"""Schedules: the steps of a program in order, with every buffer at its planned place.

What `passes.schedule` makes of a graph and backends turn into an executable. No node survives here: a step
keeps the text of what it came from, for people to read.

    Step    KernelStep | LoopStep | BranchStep | CallStep
    Loop    start, then again and again: condition, body, windows move on, pairs change places
    Branch  the arm that an index chooses
    Call    a native function that is no loop nest
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import TypeAlias

from .dataclass import dataclass
from .decision import NO_DECISIONS, Decision, Decisions
from .errors import Location, ShapeError
from .ir import Literal
from .kernel import Call, Kernel
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
    WINDOW = "window"         # part of another buffer, to which a loop points


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
        place = "" if self.space is Space.WINDOW else place
        return f"b{self.number}: {self.type} {self.space.value}{place}" + (f"  # {self.name}" if self.name else "")


@dataclass(frozen=True)
class KernelStep:
    """A kernel with its slots bound to buffers, and its history: the ops it computes, the user's lines they
    were traced at, why it was not fused with its producers, and all that was decided about that. `gathered_at`: the
    line to blame for a bad index."""

    kernel: Kernel
    buffers: tuple[int, ...]
    ops: tuple[str, ...]
    lines: tuple[Location, ...]
    reasons: tuple[str, ...]
    gathered_at: Location | None = None
    decisions: Decisions = NO_DECISIONS

    @property
    def blocks(self) -> tuple[tuple[Step, ...], ...]:
        return ()

    @property
    def written(self) -> frozenset[int]:
        """The buffers that it stores to."""
        return frozenset(self.buffers[s] for s in self.kernel.written)

    def __str__(self) -> str:
        return self.kernel.kind.value


@dataclass(frozen=True)
class CallStep:
    """A native function outside of the language of kernels, with its slots bound to buffers."""

    call: Call
    buffers: tuple[int, ...]
    ops: tuple[str, ...]
    lines: tuple[Location, ...]
    reasons: tuple[str, ...] = ()

    @property
    def blocks(self) -> tuple[tuple[Step, ...], ...]:
        return ()

    @property
    def written(self) -> frozenset[int]:
        """The buffers that it stores to."""
        return frozenset(self.buffers[s] for s in self.call.written)

    def __str__(self) -> str:
        return f"call of {self.call}"


@dataclass(frozen=True)
class Window:
    """Where a loop lets a WINDOW buffer point: in iteration t of n to byte `offset` + `stride` · t of buffer `of`, or
    if `stride` is negative, which goes backwards, to byte `offset` − `stride` · (n − 1 − t). When the loop is over it
    is where iteration n would find it."""

    buffer: int
    of: int
    stride: int
    offset: int = 0

    def __str__(self) -> str:
        moves = f"[{self.stride} t]" if self.stride >= 0 else f"[{-self.stride} (n - 1 - t)]"
        start = f" + {self.offset}" if self.offset else ""
        return f"b{self.buffer} = b{self.of}" + (moves if self.stride else "") + start


@dataclass(frozen=True)
class LoopStep:
    """Steps that run again and again: `start` once, then for each iteration `condition` and `body`.

    `length`: iterations, at most; None without a limit. `limit`: the buffer of one int64 that says how many there are
    if it is less (then there is no predicate). `predicate`: the buffer of one bool that the condition writes before an
    iteration, which takes place only if it holds. `counter`: the buffer of one int64 to which the number of iterations
    goes in the end.

    The windows point to where they start before anything runs, and move on after each iteration; then each pair of
    windows in `swaps` change places: a body reads what is carried in one and writes it to the other.
    """

    length: int | None
    limit: int | None
    predicate: int | None
    counter: int | None
    start: tuple[Step, ...]
    condition: tuple[Step, ...]
    body: tuple[Step, ...]
    windows: tuple[Window, ...]
    swaps: tuple[tuple[int, int], ...]
    ops: tuple[str, ...]
    lines: tuple[Location, ...]

    @property
    def blocks(self) -> tuple[tuple[Step, ...], ...]:
        return self.start, self.condition, self.body

    @property
    def steering(self) -> tuple[int, ...]:
        """The buffers that it reads or writes itself."""
        return tuple(b for b in (self.limit, self.predicate, self.counter) if b is not None)

    def __str__(self) -> str:
        parts = ["" if self.length is None else f"{self.length} times"]
        parts += ["" if self.limit is None else f"at most b{self.limit} times"]
        parts += ["" if self.predicate is None else f"while b{self.predicate}"]
        parts += ["" if self.counter is None else f"counted in b{self.counter}"]
        return " ".join(["loop", *filter(None, parts)])


@dataclass(frozen=True)
class BranchStep:
    """The steps of the arm that `index` chooses, a buffer of one int32: the last arm for an index beyond, the first for
    a negative one."""

    index: int
    arms: tuple[tuple[Step, ...], ...]
    ops: tuple[str, ...]
    lines: tuple[Location, ...]

    @property
    def blocks(self) -> tuple[tuple[Step, ...], ...]:
        return self.arms

    @property
    def steering(self) -> tuple[int, ...]:
        """The buffers that it reads itself."""
        return (self.index,)

    def __str__(self) -> str:
        return f"branch by b{self.index}"


Step: TypeAlias = KernelStep | LoopStep | BranchStep | CallStep


def leaves(steps: Iterable[Step]) -> Iterator[KernelStep | CallStep]:
    """The steps that work, also those in loops and branches, in the order of the text."""
    for step in steps:
        if isinstance(step, KernelStep | CallStep):
            yield step
        else:
            for block in step.blocks:
                yield from leaves(block)


@dataclass(frozen=True)
class Schedule:
    """All steps of a program. `constants` are the contents of the CONSTANT buffers, by position. `prepare` runs
    before the first call and whenever a Variable that it reads has changed."""

    buffers: tuple[Buffer, ...]
    constants: tuple[Literal, ...]
    prepare: tuple[Step, ...]
    steps: tuple[Step, ...]
    arena_bytes: int
    prepared_bytes: int

    @property
    def leaves(self) -> tuple[KernelStep | CallStep, ...]:
        """All steps that work: those of `prepare`, then the others."""
        return (*leaves(self.prepare), *leaves(self.steps))

    @property
    def work(self) -> tuple[Kernel | Call, ...]:
        """All kernels and calls, each once."""
        return tuple(dict.fromkeys(s.kernel if isinstance(s, KernelStep) else s.call for s in self.leaves))

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """All that fusion has decided, step by step."""
        return tuple(d for step in self.leaves if isinstance(step, KernelStep) for d in step.decisions)

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
            lines += _texts(title, steps)
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)


def _texts(title: str, steps: Iterable[Step]) -> Iterator[str]:
    for number, step in enumerate(steps):
        yield from _text(f"{title} {number}", step)


def _text(title: str, step: Step) -> Iterator[str]:
    """The lines that say what a step does; what is inside of it is indented."""
    match step:
        case KernelStep() | CallStep():
            bound = ", ".join(f"s{i}=b{b}" for i, b in enumerate(step.buffers))
            yield f"{title}: {' '.join(step.ops)}  ({bound})"
        case LoopStep():
            yield f"{title}: {' '.join(step.ops)}  ({step})"
            yield from (f"  window {window}" for window in step.windows)
            yield from (f"  swap b{a}, b{b}" for a, b in step.swaps)
        case BranchStep():
            yield f"{title}: {' '.join(step.ops)}  ({step})"
    yield from (f"  # {line}" for line in step.lines)
    if isinstance(step, KernelStep | CallStep):
        yield from (f"  # apart: {reason}" for reason in step.reasons)
    if isinstance(step, KernelStep):
        yield from (f"  {line}" for line in str(step.kernel).splitlines())
    if isinstance(step, CallStep):
        yield f"  call {step.call}"
    for name, block in named_blocks(step):
        yield from (f"  {line}" for line in _texts(name, block))


def titled(schedule: Schedule) -> Iterator[tuple[str, Step]]:
    """All steps in the order of the text, each with its title."""
    yield from _titled("prepare", schedule.prepare)
    yield from _titled("step", schedule.steps)


def _titled(title: str, steps: Iterable[Step]) -> Iterator[tuple[str, Step]]:
    for number, step in enumerate(steps):
        yield f"{title} {number}", step
        for name, block in named_blocks(step):
            yield from _titled(f"{title} {number}, {name}", block)


def named_blocks(step: Step) -> Iterator[tuple[str, tuple[Step, ...]]]:
    """The blocks of a step, with what to call their steps."""
    match step:
        case LoopStep():
            yield from zip(("start", "condition", "step"), step.blocks, strict=True)
        case BranchStep():
            yield from ((f"arm {number}, step", arm) for number, arm in enumerate(step.arms))
