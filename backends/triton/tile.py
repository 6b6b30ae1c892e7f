"""Tiles: the block of a kernel's points that one program works on, and what their coordinates are called.

A `Dim` is a run of axes, flattened, of which a program holds `block` points; a `Scope` knows what every axis and
every value computed so far is called. Nothing here knows what values mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from graphc.dataclass import dataclass, field
from graphc.index import Axis, axes_size

from .text import Lines


@dataclass(frozen=True)
class Dim:
    """Axes flattened row-major, cut into blocks of a power of two. `place` is the dimension of the tile that it lies
    along; without one a program has a single point of it."""

    name: str
    axes: tuple[Axis, ...]
    block: int = 1
    place: int | None = None

    @property
    def size(self) -> int:
        return axes_size(self.axes)

    @property
    def chunks(self) -> int:
        """The number of blocks that cover it."""
        return -(-self.size // self.block)

    @property
    def is_exact(self) -> bool:
        """Whether all points of all blocks exist."""
        return self.size % self.block == 0 and self.size > 0


@dataclass
class Scope:
    """What can be referred to at a point of the source: coordinates of axes, and values by number.

    `rank` is that of the program's tile; every block in it has that rank, of size 1 where it does not vary.
    """

    rank: int
    coordinates: dict[Axis, str] = field(default_factory=dict)
    dims: dict[Axis, Dim] = field(default_factory=dict)
    guards: dict[Axis, str] = field(default_factory=dict)
    values: dict[int, str] = field(default_factory=dict)
    checked: dict[tuple[int, int, str], str] = field(default_factory=dict)

    def child(self) -> Scope:
        """A scope inside this one (a loop's body): what it adds is not seen outside."""
        tables = (self.coordinates, self.dims, self.guards, self.values, self.checked)
        return Scope(self.rank, *map(dict, tables))  # type: ignore[arg-type]

    def guard(self, axes: Iterable[Axis]) -> tuple[str, ...]:
        """The conditions under which points along `axes` exist; none where blocks cover them exactly."""
        return tuple(dict.fromkeys(self.guards[a] for a in sorted(axes, key=str) if a in self.guards))

    def shape(self, axes: Iterable[Axis]) -> tuple[int, ...]:
        """The block's shape of something that varies over `axes`."""
        shape = [1] * self.rank
        for axis in axes:
            dim = self.dims.get(axis)
            if dim is not None and dim.place is not None:
                shape[dim.place] = dim.block
        return tuple(shape)

    def is_block(self, axes: Iterable[Axis]) -> bool:
        """Whether an index over `axes` is a block and no scalar."""
        return any((d := self.dims.get(a)) is not None and d.place is not None for a in axes)


@dataclass(frozen=True)
class Coordinates:
    """Writes the coordinates of dims: only of axes that something refers to. `wide` ones are int64."""

    code: Lines
    used: frozenset[Axis]
    wide: bool

    def spread(self, dims: Sequence[Dim], scope: Scope) -> int:
        """Spread the dims' blocks over programs, the last dim's fastest. Returns the number of programs."""
        programs = math.prod(dim.chunks for dim in dims)
        if programs > 1:
            self.code.line(f"pid = tl.program_id(0){'.to(tl.int64)' if self.wide else ''}")
        inner = programs
        for dim in dims:
            inner //= max(dim.chunks, 1)
            chunk = chunk_text(dim, inner, programs)
            self.place(dim, f"{chunk} * {dim.block}" if chunk and dim.block > 1 else chunk, scope)
        return programs

    def place(self, dim: Dim, start: str, scope: Scope, suffix: str = "") -> None:
        """Name the positions along a dim, from `start`, its guard and its axes.

        `suffix` tells two placements of the same axes apart."""
        name = (dim.axes[0].name if len(dim.axes) == 1 else dim.name) + suffix
        used = [a for a in dim.axes if a in self.used]
        if used or not dim.is_exact:
            self.code.line(f"{name} = {self._positions(dim, start, scope.rank)}")
        if not dim.is_exact:
            self.code.line(f"{name}_in = {name} < {dim.size}")
        stride = dim.size
        for axis in dim.axes:
            stride //= max(axis.size, 1)
            scope.dims[axis] = dim
            if not dim.is_exact:
                scope.guards[axis] = f"{name}_in"
            if len(dim.axes) > 1 and axis in self.used:
                part = name if stride == 1 else f"{name} // {stride}"
                outermost = axis is dim.axes[0]
                wrapped = part if outermost else f"{part if stride == 1 else f'({part})'} % {axis.size}"
                self.code.line(f"{axis.name}{suffix} = {wrapped}")
            scope.coordinates[axis] = f"{axis.name}{suffix}"

    def _positions(self, dim: Dim, start: str, rank: int) -> str:
        if dim.place is None:
            return start or "tl.full((), 0, tl.int32)"
        lanes = f"tl.arange(0, {dim.block})"
        if rank > 1:
            lanes += f"[{', '.join(':' if i == dim.place else 'None' for i in range(rank))}]"
        if self.wide:
            lanes += ".to(tl.int64)"
        return f"{start} + {lanes}" if start else lanes


def chunk_text(dim: Dim, inner: int, programs: int) -> str:
    """Which block of `dim` a program works on, where `inner` programs share one; nothing where there is one block."""
    if dim.chunks <= 1:
        return ""
    text = "pid" if inner == 1 else f"(pid // {inner})"
    return text if inner * dim.chunks == programs else f"({text} % {dim.chunks})"
