"""The running states of cumulative values: what is carried along a row in order, and what it comes to at each point.

In: the `Scan` values of one sweep. Out: for each chunk, visited in the row's order, their values. In loops that are cut
into blocks a state starts anew in each, and what came before the block joins last, so that errors do not add up.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.kernel import Scan

from .places import Chunk
from .values import Values


class Runs:
    """The states of the cumulative values among `numbers`, of `copies` rows side by side (or of rows across lanes).

    `along`: whether the vector axis lies in the row, so that a chunk's lanes follow each other.
    """

    def __init__(self, values: Values, numbers: Sequence[int], copies: int, along: bool) -> None:
        self.values = values
        self.numbers = [n for n in numbers if isinstance(values.kernel.values[n], Scan)]
        self.copies = copies
        self.along = along and values.lanes > 1
        self.before: list[list[str]] = []  # all that came before each block that code is in, outermost first

    @property
    def scans(self) -> list[Scan]:
        return [s for n in self.numbers if isinstance(s := self.values.kernel.values[n], Scan)]

    def initial(self) -> list[tuple[str, str]]:
        """(type, first operand) of all that is carried: for each copy, each value's components."""
        emitter = self.values.vectors
        once = [(emitter.type(c.dtype), emitter.constant(c.bits, c.dtype)) for s in self.scans for c in s.init]
        return once * self.copies

    def take(self, carried: list[str], first: int, chunk: Chunk, copy: int) -> None:
        """The values at a chunk, which are known in it afterwards. Their states are carried from place `first` on."""
        emitter, width = self.values.vectors, sum(len(s.init) for s in self.scans)
        at = first + copy * width
        for number, scan in zip(self.numbers, self.scans, strict=True):
            here = slice(at, at + len(scan.init))
            state = tuple(carried[here])
            new = tuple(self.values.vector(chunk, i) for i in scan.inputs)
            if self.along:
                new = self._prefixes(scan, new)
                total = tuple(self._lane(x, scan, k, chunk.count - 1) for k, x in enumerate(new))
                carried[here] = emitter.recipe(scan.combine, (*state, *total))
            result = emitter.recipe(scan.combine, (*state, *new))
            if not self.along:
                carried[here] = result
            if self.before:
                place = slice(at - first, at - first + len(scan.init))
                result = emitter.recipe(scan.combine, (*self.before[-1][place], *result))
            self._learn(chunk, number, emitter.recipe(scan.finish, result)[0])
            at += len(scan.init)

    def _prefixes(self, scan: Scan, x: tuple[str, ...]) -> tuple[str, ...]:
        """What the lanes up to each one combine to: first of 2 lanes, then of 4, and so on."""
        values, lanes, distance = self.values, self.values.lanes, 1
        while distance < lanes:
            order = [lane - distance if lane >= distance else lane for lane in range(lanes)]
            types = [values.vectors.type(c.dtype) for c in scan.init]
            behind = tuple(values.memory.shuffle(a, a, t, order) for a, t in zip(x, types, strict=True))
            joined = values.vectors.recipe(scan.combine, (*behind, *x))
            bits = ", ".join(f"i1 {str(lane >= distance).lower()}" for lane in range(lanes))
            x = tuple(
                values.vectors.select(f"<{bits}>", a, b, c.dtype) for a, b, c in zip(joined, x, scan.init, strict=True)
            )
            distance *= 2
        return x

    def _lane(self, x: str, scan: Scan, component: int, lane: int) -> str:
        """One lane's element in all lanes."""
        values = self.values
        return values.memory.shuffle(x, x, values.vectors.type(scan.init[component].dtype), [lane] * values.lanes)

    def _learn(self, chunk: Chunk, number: int, x: str) -> None:
        """Note a value, which may be the same in all lanes."""
        values = self.values
        if values.varies(number):
            chunk.known[number] = x
        elif values.lanes == 1:
            chunk.frame.known[number] = x
        else:
            chunk.frame.known["splat", number] = x
            chunk.frame.known[number] = values.extract(x, values.kernel.dtypes[number], 0)

    # ---- between blocks --------------------------------------------------------------------------------------

    def begin(self, outer: Sequence[str]) -> list[str]:
        """What a block carries first, inside of a loop that carries `outer`."""
        self.before.append(self._joined(self.before[-1], outer) if self.before else list(outer))
        return [first for _, first in self.initial()]

    def end(self, outer: Sequence[str], inner: Sequence[str]) -> list[str]:
        """What the loop around carries on after a block."""
        self.before.pop()
        return self._joined(outer, inner)

    def _joined(self, a: Sequence[str], b: Sequence[str]) -> list[str]:
        """Two sets of all that is carried, combined."""
        result: list[str] = []
        for _ in range(self.copies):
            for scan in self.scans:
                at = slice(len(result), len(result) + len(scan.init))
                result += self.values.vectors.recipe(scan.combine, (*a[at], *b[at]))
        return result
