"""How sums of many floats are cut into blocks, so that rounding errors grow with the logarithm of their number.

In: a nest of loops whose body takes terms into running states. Out: the loops to cut in two, wherever a state would
take more than a few terms one after the other. It follows from the shape alone. Knows no backend.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.dataclass import dataclass
from graphc.scalar import Prim
from graphc.value import Monoidal

MOST = 64  # terms that a state takes in a row; more are cut …
BLOCK = 32  # … into blocks of so many, which cost one more instruction each


def rounds(reduce: Monoidal) -> bool:
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
