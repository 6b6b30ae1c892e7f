"""Work units as places: a unit's number taken apart into positions on axes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from graphc.index import Axis

from ..emit.text import Code, Loop
from ..nests.places import Integer, Point
from .blocking import Tiling


def unit_loop(code: Code, units: int) -> AbstractContextManager[Loop]:
    """The loop over the units of a call of a task that has so many in all."""
    return code.loop("%low", "%high") if units > 1 else code.loop(0, 1)


def unit_place(
    code: Code, unit: Integer, inner: int, outer: Sequence[Axis]
) -> tuple[Integer, Point, Integer]:
    """unit = place · inner + rest, and `place` counts the points of the outer axes, the last one fastest:
    (rest, the frame of that point, place)."""
    place, rest = code.divide(unit, inner)
    left, positions = place, {}
    for axis in reversed(outer):
        left, positions[axis] = code.divide(left, axis.size)
    return rest, Point(None, positions), place if outer else 0


def tile_place(code: Code, cut: Tiling, tile: Integer) -> tuple[Integer, Integer]:
    """Where a tile of a cut starts, and how long it is."""
    start = code.multiply(tile, cut.first)
    if not cut.seconds:
        return start, cut.first
    is_first = code.let(f"icmp slt i64 {tile}, {cut.firsts}")
    if cut.seconds > 1:
        beyond = code.maximum(code.add(tile, -cut.firsts), 0)
        start = code.add(start, code.multiply(beyond, cut.second - cut.first))
    return start, code.let(f"select i1 {is_first}, i64 {cut.first}, i64 {cut.second}")
