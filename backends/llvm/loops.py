"""Loops over units, axes and vectors, and the lowering of kernels that are nothing more.

In: a kernel's values and its plan. Out: the body of a function that does the work units [%low, %high).
Every axis has at least one position: kernels without points never come here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from graphc.index import Axis
from graphc.kernel import Store

from .places import Chunk, Frame, Operand
from .plan import Plan
from .sweeps import needed, stored
from .values import Values

Body = Callable[[Frame, list[Chunk], list[str]], list[str]]


@dataclass(frozen=True)
class Span:
    """A part of the vector axis: from `start` to `stop`, whole steps, and then the rest of the axis where `last`.

    Without `start` it is the whole axis, and everything about it is known while generating.
    """

    start: Operand = ""
    stop: Operand = ""
    last: str = ""

    @property
    def is_whole(self) -> bool:
        return self.start == ""


@contextmanager
def unit_loop(values: Values, plan: Plan) -> Iterator[tuple[Frame, Span]]:
    """The loop over this call's units; inside, the frame and the part of the vector axis of a unit.

    Without outer axes, neighbouring blocks of the vector axis are done as one span.
    """
    code, step = values.code, plan.lanes * plan.unroll
    main = plan.length // step * step
    if not plan.outer and plan.blocks == 1:
        yield Frame(), Span()
        return
    if not plan.outer:
        start, stop = code.multiply("%low", plan.block), code.multiply("%high", plan.block)
        yield Frame(), Span(start, code.minimum(stop, main), code.let(f"icmp eq i64 %high, {plan.blocks}"))
        return
    with code.loop("%low", "%high") as loop:
        rest: Operand = loop.index
        span = Span()
        if plan.blocks > 1:
            rest, block = divide(values, rest, plan.blocks)
            start = code.multiply(block, plan.block)
            last = code.let(f"icmp eq i64 {block}, {plan.blocks - 1}")
            span = Span(start, code.minimum(code.add(start, plan.block), main), last)
        axes: dict[Axis, Operand] = {}
        for axis in reversed(plan.outer[1:]):
            rest, axes[axis] = divide(values, rest, axis.size)
        axes[plan.outer[0]] = rest
        yield Frame(None, axes), span


def divide(values: Values, x: Operand, by: int) -> tuple[Operand, Operand]:
    """Quotient and remainder of a number that is not negative."""
    if by == 1:
        return x, 0
    return values.code.let(f"udiv i64 {x}, {by}"), values.code.let(f"urem i64 {x}, {by}")


@contextmanager
def axis_loops(
    values: Values, frame: Frame, axes: Sequence[Axis], numbers: Sequence[int], stores: Sequence[Store]
) -> Iterator[Frame]:
    """Loops over axes, outermost first; what is needed of `numbers` and `stores` is computed as far out as it can."""
    values.prepare(frame, numbers, stores)
    with ExitStack() as stack:
        for axis in axes:
            loop = stack.enter_context(values.code.loop(0, axis.size))
            frame = Frame(frame, {axis: loop.index})
            values.prepare(frame, numbers, stores)
        yield frame


def along(
    values: Values, plan: Plan, frame: Frame, span: Span, body: Body, carried: Sequence[tuple[str, str]] = ()
) -> list[str]:
    """Vectors along the vector axis: a loop of `unroll` chunks, then one body with what is left, whose last chunk may
    have a part of its lanes.

    `body(frame, chunks, carried)` returns what it carries on. Only whole axes can carry.
    """
    code, step = values.code, plan.lanes * plan.unroll
    main = plan.length // step * step
    types = [t for t, _ in carried]
    state = [first for _, first in carried]

    def loop(start: Operand, stop: Operand) -> list[str]:
        with code.loop(start, stop, step, carried) as inner:
            here = Frame(frame)
            inner.next = body(here, chunks(values, here, inner.index, step), inner.carried)
        return inner.results

    def straight(start: int, length: int, state: list[str]) -> list[str]:
        here = Frame(frame)
        return body(here, chunks(values, here, start, length), state)

    if span.is_whole:
        if main > step:
            state = loop(0, main)
        elif main:
            state = straight(0, main, state)
        return straight(main, plan.length - main, state) if plan.length > main else state
    assert not types
    with code.when(code.let(f"icmp slt i64 {span.start}, {span.stop}")):
        loop(span.start, span.stop)
    if plan.length > main:
        with code.when(span.last):
            straight(main, plan.length - main, [])
    return []


def chunks(values: Values, frame: Frame, start: Operand, length: int) -> list[Chunk]:
    """The vectors that cover `length` positions."""
    lanes = values.lanes
    return [values.chunk(frame, start, k, min(lanes, length - k)) for k in range(0, length, lanes)]


def carrying_loops(
    values: Values,
    frame: Frame,
    axes: Sequence[Axis],
    numbers: Sequence[int],
    carried: Sequence[tuple[str, str]],
    inner: Callable[[Frame, list[str]], list[str]],
) -> list[str]:
    """Loops over axes that carry registers along; `inner(frame, carried)` returns what it carries on."""
    if not axes:
        return inner(frame, [first for _, first in carried])
    with values.code.loop(0, axes[0].size, 1, carried) as loop:
        here = Frame(frame, {axes[0]: loop.index})
        values.prepare(here, numbers)
        now = [(t, name) for (t, _), name in zip(carried, loop.carried, strict=True)]
        loop.next = carrying_loops(values, here, axes[1:], numbers, now, inner)
    return loop.results


def emit_loop(values: Values, plan: Plan) -> None:
    """A kernel without reductions: every store at every point."""
    stores = values.kernel.stores
    numbers = needed(values.kernel, stored(stores))

    def body(frame: Frame, parts: list[Chunk], carried: list[str]) -> list[str]:
        for chunk in parts:
            values.store_all(chunk, stores)
        return carried

    with (
        unit_loop(values, plan) as (unit, span),
        axis_loops(values, unit, plan.inner, numbers, stores) as frame,
    ):
        along(values, plan, frame, span, body)
