"""Loops that sum many terms, in blocks: the states of a block start neutral and are joined, at its end, to those of the
loop around it.

In: a nest of loops, and how to cut them. Out: their code. It knows no states: a `Fold` says where these lie.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import prod

from graphc.dataclass import dataclass

from ...kernels.long_sums import LoopCut
from ..emit.text import Code
from .places import Integer


class Fold(ABC):
    """What becomes of states between blocks, wherever they lie."""

    @abstractmethod
    def begin(self, level: int, outer: Sequence[str] = ()) -> list[str]:
        """Make the states of a level neutral. Gives what a loop carries of them in registers, inside of one that
        carries `outer`."""

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
        body: Callable[[Integer, list[str]], list[str]],
    ) -> list[str]:
        """The loop that is `around` loops from the innermost one. `body(index, carried)` returns what it carries on."""
        cut = self.cuts[-1 - around]
        whole = (stop - start) % (step * prod(cut.lengths)) == 0
        return self._loop(cut.lengths, cut.level, (start, stop, stop - start), whole, step, carried, body)

    def _loop(
        self,
        lengths: Sequence[int],
        level: int,
        span: tuple[Integer, Integer, int],
        whole: bool,
        step: int,
        carried: Sequence[tuple[str, str]],
        body: Callable[[Integer, list[str]], list[str]],
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
                neutral = [(t, x) for (t, _), x in zip(carried, self.fold.begin(inside, loop.carried), strict=True)]
                end = code.add(loop.index, stride)
                end = end if whole else code.minimum(end, stop)
                part = loop.index, end, stride
                block = self._loop(lengths[:-1], level, part, whole, step, neutral, body)
                loop.next = self.fold.join(inside, loop.carried, block)
        return loop.results
