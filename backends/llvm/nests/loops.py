"""Loops over units, axes and vectors, and the lowering of kernels that are nothing more.

In: a kernel's values and its plan. Out: the body of a function that does the work units [%low, %high).
Every axis has at least one position: kernels without points never come here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from graphc.dataclass import dataclass
from graphc.index import Axis
from graphc.kernel import Store

from ...kernels.sweeps import needed
from .blocks import Blocks
from .places import Chunk, Integer, Point
from .plan import NestPlan
from .tiles import Tiles
from .values import Values

Body = Callable[[Point, list[Chunk], list[str]], list[str]]


@dataclass(frozen=True)
class Span:
    """A part of an axis: from `start` to `stop`, whole steps, and then the rest of the axis where `last`.

    None in its place is the whole axis, about which everything is known while generating.
    """

    start: Integer
    stop: Integer
    last: str


@dataclass(frozen=True)
class Unit:
    """Where a work unit is: its frame, and its part of the vector axis and of the tile axis."""

    frame: Point
    span: Span | None
    tile: Span | None


@contextmanager
def unit_loop(values: Values, plan: NestPlan) -> Iterator[Unit]:
    """The loop over this call's units. Where only the vector axis makes units, neighbouring ones are one span, unless
    each block has its own states in memory."""
    code, main = values.code, plan.length // plan.step * plan.step
    if plan.units == 1:
        yield Unit(Point(), None, None)
        return
    if plan.blocks == plan.units and not plan.rows_at_once:
        start, stop = code.multiply("%low", plan.block), code.multiply("%high", plan.block)
        last = code.let(f"icmp eq i64 %high, {plan.blocks}")
        yield Unit(Point(), Span(start, code.minimum(stop, main), last), None)
        return
    with code.loop("%low", "%high") as loop:
        rest, block = code.divide(loop.index, plan.blocks)
        rest, tile_block = code.divide(rest, plan.tile_blocks)
        axes: dict[Axis, Integer] = {}
        for axis in reversed(plan.outer):
            rest, axes[axis] = code.divide(rest, axis.size) if axis != plan.outer[0] else (0, rest)
        tile_length = plan.tile.size if plan.tile else 1
        yield Unit(
            Point(None, axes),
            block_span(values, block, plan.block, plan.length, plan.step),
            block_span(values, tile_block, plan.tile_block, tile_length, plan.lanes),
        )


def block_span(values: Values, number: Integer, block: int, length: int, step: int) -> Span | None:
    """The part of an axis that a block is. Blocks are whole steps, but for the last."""
    if block >= length:
        return None
    code, blocks = values.code, -(-length // block)
    start = code.multiply(number, block)
    stop = code.minimum(code.add(start, block), length // step * step)
    return Span(start, stop, code.let(f"icmp eq i64 {number}, {blocks - 1}"))


@contextmanager
def axis_loops(
    values: Values, frame: Point, axes: Sequence[Axis], numbers: Sequence[int], stores: Sequence[Store]
) -> Iterator[Point]:
    """Loops over axes, outermost first; what is needed of `numbers` and `stores` is computed as far out as it can."""
    values.prepare(frame, numbers, stores)
    with ExitStack() as stack:
        for axis in axes:
            loop = stack.enter_context(values.code.loop(0, axis.size))
            frame = Point(frame, {axis: loop.index})
            values.prepare(frame, numbers, stores)
        yield frame


def along(
    values: Values,
    plan: NestPlan,
    frame: Point,
    span: Span | None,
    body: Body,
    carried: Sequence[tuple[str, str]] = (),
    blocks: Blocks | None = None,
) -> list[str]:
    """Vectors along the vector axis, `unroll` at a time and then what is left, where the last may have a part of its
    lanes. `body(frame, chunks, carried)` returns what it carries on. Only whole axes can carry, maybe in blocks.
    """

    def steps(start: Integer, length: int, state: list[str]) -> list[str]:
        here = Point(frame)
        return body(here, chunks(values, here, start, length), state)

    return stepping(values, plan.length, plan.step, span, steps, carried, blocks)


def stepping(
    values: Values,
    length: int,
    step: int,
    span: Span | None,
    body: Callable[[Integer, int, list[str]], list[str]],
    carried: Sequence[tuple[str, str]] = (),
    blocks: Blocks | None = None,
) -> list[str]:
    """Part of an axis in steps: `body(start, count, carried)` for each whole step, then for the rest of the axis."""
    code, main = values.code, length // step * step
    state = [first for _, first in carried]

    def loop(start: Integer, stop: Integer) -> list[str]:
        with code.loop(start, stop, step, carried) as inner:
            inner.next = body(inner.index, step, inner.carried)
        return inner.results

    if span is None:
        if main > step and blocks is not None:
            state = blocks.loop(0, 0, main, step, carried, lambda at, now: body(at, step, now))
        elif main > step:
            state = loop(0, main)
        elif main:
            state = body(0, main, state)
        return body(main, length - main, state) if length > main else state
    assert not carried
    with code.when(code.let(f"icmp slt i64 {span.start}, {span.stop}")):
        loop(span.start, span.stop)
    if length > main:
        with code.when(span.last):
            body(main, length - main, [])
    return []


def chunks(values: Values, frame: Point, start: Integer, length: int) -> list[Chunk]:
    """The vectors that cover `length` positions."""
    lanes = values.lanes
    return [values.chunk(frame, start, k, min(lanes, length - k)) for k in range(0, length, lanes)]


def carrying_loops(
    values: Values,
    frame: Point,
    axes: Sequence[Axis],
    numbers: Sequence[int],
    carried: Sequence[tuple[str, str]],
    inner: Callable[[Point, list[str]], list[str]],
    blocks: Blocks | None = None,
) -> list[str]:
    """Loops over axes that carry registers along; `inner(frame, carried)` returns what it carries on."""
    if not axes:
        return inner(frame, [first for _, first in carried])

    def body(index: Integer, state: list[str]) -> list[str]:
        here = Point(frame, {axes[0]: index})
        values.prepare(here, numbers)
        now = [(t, x) for (t, _), x in zip(carried, state, strict=True)]
        return carrying_loops(values, here, axes[1:], numbers, now, inner, blocks)

    if blocks is not None:
        return blocks.loop(len(axes), 0, axes[0].size, 1, carried, body)
    with values.code.loop(0, axes[0].size, 1, carried) as loop:
        loop.next = body(loop.index, loop.carried)
    return loop.results


def emit_loop(values: Values, plan: NestPlan) -> None:
    """A kernel without reductions: every store at every point."""
    stores = values.kernel.stores
    numbers = needed(values.kernel, values.kernel.stored(stores))

    def body(frame: Point, parts: list[Chunk], carried: list[str]) -> list[str]:
        for chunk in parts:
            values.store_all(chunk, stores)
        return carried

    def tile_body(start: Integer, count: int, carried: list[str]) -> list[str]:
        assert tiles is not None
        frames = tiles.frames(frame, start, count)
        for here in frames:
            values.prepare(here, numbers, stores)

        def blocks(here: Point, parts: list[Chunk], carried: list[str]) -> list[str]:
            assert tiles is not None
            for chunk in parts:
                values.prepare_chunk(chunk, numbers)
                tiles.store_all(tiles.points(chunk, frames, numbers), stores)
            return carried

        along(values, plan, frame, unit.span, blocks)
        return carried

    tiles = None if plan.tile is None else Tiles(values, plan.tile)
    with (
        unit_loop(values, plan) as unit,
        axis_loops(values, unit.frame, plan.inner, numbers, stores) as frame,
    ):
        if plan.tile is None:
            along(values, plan, frame, unit.span, body)
        else:
            stepping(values, plan.tile.size, plan.lanes, unit.tile, tile_body)
