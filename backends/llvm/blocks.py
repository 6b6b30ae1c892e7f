"""Sums of many terms in blocks, so that their rounding errors grow with the logarithm of how many there are.

In: a nest of loops whose body takes one or more terms into running states. Out: the loops, cut in two wherever a state
would take more than a few terms one after the other: the states of a block start neutral and are joined, at its end,
to those of the loop around it. How they are cut follows from the shape alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from graphc.kernel import Reduce
from graphc.scalar import Prim

from .places import Operand
from .text import Code

MOST = 64  # terms that a state takes in a row; more are cut …
BLOCK = 32  # … into blocks of so many, which cost one more instruction each


def rounds(reduce: Reduce) -> bool:
    """Whether errors add up in a reduction: it adds floats. Maxima and integers are exact in any order, and products
    lose as much in any."""
    return any(s.dtype.is_float and s.prim in (Prim.ADD, Prim.SUB, Prim.FMA) for s in reduce.combine.steps)


@dataclass(frozen=True)
class LoopCut:
    """How a loop is cut: the iterations of its blocks, those of the blocks of blocks, and so on, innermost first; and
    the level of the states that its body combines into. States of level n + 1 take in those of level n."""

    lengths: tuple[int, ...]
    level: int

    @property
    def top(self) -> int:
        """The level of the states that the whole loop carries."""
        return self.level + len(self.lengths)


def cut_loops(counts: Sequence[int], terms: int = 1) -> tuple[LoopCut, ...]:
    """How to cut loops of so many iterations, outermost first, whose innermost body takes `terms` in a row."""
    found: list[LoopCut] = []
    level = 0
    for count in reversed(counts):
        lengths = []
        while count * terms > MOST and count > 1:
            lengths.append(max(1, BLOCK // terms))
            count, terms = -(-count // lengths[-1]), 1
        found.append(LoopCut(tuple(lengths), level))
        level, terms = found[-1].top, max(1, count * terms)
    return tuple(reversed(found))


class Fold(ABC):
    """What becomes of states between blocks, wherever they lie."""

    @abstractmethod
    def begin(self, level: int) -> list[str]:
        """Make the states of a level neutral. Gives what a loop carries of them in registers."""

    @abstractmethod
    def join(self, level: int, outer: Sequence[str], inner: Sequence[str]) -> list[str]:
        """The states of level + 1 with those of `level` taken in; both given, and returned, as `begin` does."""


@dataclass(frozen=True)
class Blocks:
    """Emits loops in blocks."""

    code: Code
    cuts: tuple[LoopCut, ...]
    fold: Fold

    def loop(
        self,
        around: int,
        start: int,
        stop: int,
        step: int,
        carried: Sequence[tuple[str, str]],
        body: Callable[[Operand, list[str]], list[str]],
    ) -> list[str]:
        """The loop that is `around` loops from the innermost one. `body(index, carried)` returns what it carries on."""
        cut = self.cuts[-1 - around]
        whole = (stop - start) % (step * prod(cut.lengths)) == 0
        return self._loop(cut.lengths, cut.level, (start, stop, stop - start), whole, step, carried, body)

    def _loop(
        self,
        lengths: Sequence[int],
        level: int,
        span: tuple[Operand, Operand, int],
        whole: bool,
        step: int,
        carried: Sequence[tuple[str, str]],
        body: Callable[[Operand, list[str]], list[str]],
    ) -> list[str]:
        """From span[0] to span[1], which are span[2] or, in a last block that is not `whole`, less."""
        code, (start, stop, size) = self.code, span
        if size <= step:
            return body(start, [first for _, first in carried])
        stride = step * prod(lengths)
        with code.loop(start, stop, stride, carried) as loop:
            if not lengths:
                loop.next = body(loop.index, loop.carried)
            else:
                inside = level + len(lengths) - 1
                neutral = [(t, x) for (t, _), x in zip(carried, self.fold.begin(inside), strict=True)]
                end = code.add(loop.index, stride)
                end = end if whole else code.minimum(end, stop)
                part = loop.index, end, stride
                block = self._loop(lengths[:-1], level, part, whole, step, neutral, body)
                loop.next = self.fold.join(inside, loop.carried, block)
        return loop.results
