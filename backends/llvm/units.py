"""Work units as places: a unit's number taken apart into positions on axes."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.index import Axis

from .places import Frame, Operand
from .text import Code


def unit_place(
    code: Code, unit: Operand, inner: int, outer: Sequence[Axis]
) -> tuple[Operand, Frame, Operand]:
    """unit = place · inner + rest, and `place` counts the points of the outer axes, the last one fastest:
    (rest, the frame of that point, place)."""
    place, rest = code.divide(unit, inner)
    left, positions = place, {}
    for axis in reversed(outer):
        left, positions[axis] = code.divide(left, axis.size)
    return rest, Frame(None, positions), place if outer else 0
