"""Gradients of loops: a scan from the last iteration to the first, over what the forward run has saved of each.

The forward loop is made once more, with what is to be saved as further stacks; the pass `join` makes one loop of it
and of the one that was there. Cotangents of carries are carried backwards, those of slices are stacked. What consts
get from each iteration is summed up: in a carry, or, for products of matrices, by one product over all iterations.
Cotangents of 16-bit floats are carried and stacked as float32: they are rounded where they arrive, not in each step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from .. import ops
from ..dataclass import dataclass
from ..errors import UnsupportedError
from ..hook import driver
from ..ir import Graph, Node, topological_order
from ..types import TensorType
from .bodies import LoopInputs, loop_attrs, substitute
from .residuals import flow, residuals
from .values import converted, zeros_like

Cotangents = Sequence[Node | None]
Gradients = tuple[Node | None, ...]


def scan_vjp(
    g: Cotangents, y: Node, *inputs: Node, wanted: Sequence[bool], body: Graph, consts: int, carries: int, length: int,
    reverse: bool, counted: bool,
) -> Gradients:  # fmt: skip
    """The rule of `scan`."""
    given = LoopInputs.of(inputs, consts, carries, counted)

    def saved(nodes: Sequence[Node]) -> list[Node]:
        wider = Graph(body.inputs, (), (), (*body.outputs, *nodes))
        attrs = loop_attrs(given, wider, length, reverse=reverse)
        return _items(ops.scan(*inputs, **attrs), len(body.outputs))

    stacks = {node: ops.item(y, index=carries + i) for i, node in enumerate(body.outputs[carries:])}
    loop = _Loop(body, given, LoopInputs.of(wanted, consts, carries, counted), length, reverse, saved, stacks)
    return loop.gradients(g[:carries], g[carries:])


def while_vjp(
    g: Cotangents, y: Node, *inputs: Node, wanted: Sequence[bool], cond: Graph, body: Graph, consts: int, carries: int,
    max_steps: int | None,
) -> Gradients:  # fmt: skip
    """The rule of `while_loop`: as many iterations back as there were."""
    if max_steps is None:
        raise UnsupportedError(
            "a while_loop has gradients only with max_steps, the number of steps that there is memory for",
            got="a loop without a limit, on the path from what is differentiated by to the loss",
            hint="gx.while_loop(cond, body, init, max_steps=n), gx.fori_loop with Python numbers, or gx.stop_gradient",
        )

    def saved(nodes: Sequence[Node]) -> list[Node]:
        wider = Graph(body.inputs, (), (), (*body.outputs, *nodes))
        again = ops.while_loop(
            *inputs, cond=cond, body=wider, consts=consts, carries=carries, max_steps=max_steps
        )
        return _items(again, len(body.outputs) + 1)

    steps = ops.item(y, index=carries)
    stacks = {node: ops.item(y, index=carries + 1 + i) for i, node in enumerate(body.outputs[carries:])}
    given = LoopInputs(tuple(inputs[:consts]), tuple(inputs[consts:]), (), (steps,))
    wants = LoopInputs(tuple(wanted[:consts]), tuple(wanted[consts:]), (), (False,))
    loop = _Loop(body, given, wants, max_steps, False, saved, stacks)
    return loop.gradients(g[:carries], g[carries + 1 :])[1:]


def _items(node: Node, first: int) -> list[Node]:
    """All results from that one on."""
    return [ops.item(node, index=i) for i in range(first, len(node.type.items))]  # type: ignore[union-attr]


def _fresh(type_: TensorType, name: str) -> Node:
    return ops.input(type=type_, name=name)


def _wide(node: Node) -> TensorType:
    """The type of gradients for a node while they are on their way."""
    return node.tensor_type.with_dtype(node.dtype.computes_as)


@dataclass(frozen=True)
class _Sum:
    """What a const gets of all iterations, made of what the backward loop stacks: `total(*stacks)` of `parts`."""

    parts: tuple[Node, ...]
    total: Callable[..., Node]


class _Loop:
    """One loop that is differentiated. `saved`: the stacks of nodes of the body, of a loop that is made for them;
    `stacks`: those that there are."""

    def __init__(
        self, body: Graph, given: LoopInputs[Node], wants: LoopInputs[bool], length: int, reverse: bool,
        saved: Callable[[Sequence[Node]], list[Node]], stacks: dict[Node, Node],
    ) -> None:  # fmt: skip
        self.body = body
        self.given = given
        self.wants = wants
        self.length = length
        self.reverse = reverse
        self.saved = saved
        self.inner: LoopInputs[Node] = LoopInputs.of(body.inputs, len(given.consts), len(given.carries))
        self.stacks = stacks | dict(zip(self.inner.slices, given.slices, strict=True))
        count = len(given.carries)
        self.after, self.made = body.outputs[:count], body.outputs[count:]

    def gradients(self, carried: Cotangents, stacked: Cotangents) -> Gradients:
        """Gradients for all inputs of the loop, of cotangents for what it carries and what it stacks."""
        active = self._active()
        wrt = [n for n in self.inner.all if n in active]
        reached = flow(self.body, active)
        ys = [(y, g) for y, g in zip(self.made, stacked, strict=True) if g is not None and y in reached]
        slots = [_fresh(y.tensor_type.with_dtype(g.dtype), f"gradient{i}") for i, (y, g) in enumerate(ys)]
        live = {j for j, g in enumerate(carried) if g is not None and self.inner.carries[j] in active}
        while True:
            ends = {j: _fresh(_wide(self.after[j]), f"carry{j}") for j in sorted(live)}
            pairs = [(self.after[j], end) for j, end in ends.items() if self.after[j] in reached]
            pairs += [(y, slot) for (y, _), slot in zip(ys, slots, strict=True)]
            found = driver().differentiate([o for o, _ in pairs], wrt, [c for _, c in pairs], wide=True)
            per_input = {n: g for n, g in zip(wrt, found, strict=True) if g is not None}
            more = {j for j, n in enumerate(self.inner.carries) if n in per_input} - live
            if not more:
                break
            live |= more
        cotangents = [*ends.values(), *slots]
        given = {j: carried[j] or zeros_like(end) for j, end in ends.items()}
        starts = {j: converted(g, ends[j].dtype) for j, g in given.items()}
        return _Backward(self, per_input, ends, cotangents).run(starts, [g for _, g in ys], slots)

    def _active(self) -> set[Node]:
        """The inputs of the body that gradients are asked for, also by an iteration of a later one."""
        wants = self.wants.all[len(self.wants.steps) :]
        active = {n for n, wanted in zip(self.inner.all, wants, strict=True) if wanted}
        while True:
            reached = flow(self.body, active)
            pairs = zip(self.inner.carries, self.after, strict=True)
            more = {n for n, after in pairs if after in reached and n.dtype.is_float} - active
            if not more:
                return active
            active |= more


class _Backward:
    """The backward loop. `per_input`: gradients for inputs of the body, as nodes on top of it."""

    def __init__(
        self, loop: _Loop, per_input: dict[Node, Node], ends: dict[int, Node], cotangents: Sequence[Node]
    ) -> None:
        self.loop = loop
        self.inner = loop.inner
        self.ends = ends
        self.per_input = per_input
        self.cotangents = cotangents
        self.carried = [per_input.get(self.inner.carries[j]) or zeros_like(end) for j, end in ends.items()]
        self.sliced = [n for n in self.inner.slices if n in per_input]

    def run(self, starts: dict[int, Node], given: Sequence[Node], slots: Sequence[Node]) -> Gradients:
        """Gradients for the inputs of the loop: `starts` for what the last iteration carries, `given` stacked."""
        fixed, at_hand = self.inner.consts, (*self.inner.consts, *self.loop.stacks)
        nodes = [*self.carried, *self.per_input.values()]
        kept = residuals(nodes, self.cotangents, at_hand, fixed)
        stacks = self.loop.stacks | dict(zip(kept, self.loop.saved(kept) if kept else [], strict=True))
        sums, added = self._sums(stacks)
        totals = [_fresh(_wide(n), "total") for n in added]
        new = [ops.add(t, self.per_input[n]) for n, t in zip(added, totals, strict=True)]
        parts = list(dict.fromkeys(p for s in sums.values() for p in s.parts if p not in stacks))
        results = [*self.carried, *new, *(self.per_input[n] for n in self.sliced), *parts]
        places = {node: _fresh(node.tensor_type, f"saved{i}") for i, node in enumerate(stacks)}
        outputs = substitute(results, places)
        used = set(topological_order(outputs))
        consts = [(n, outer) for n, outer in zip(fixed, self.loop.given.consts, strict=True) if n in used]
        slices = [(places[n], stack) for n, stack in stacks.items() if places[n] in used]
        slices += zip(slots, given, strict=True)
        carries = [*self.ends.values(), *totals]
        inputs = LoopInputs(
            tuple(outer for _, outer in consts),
            (*(starts[j] for j in self.ends), *map(zeros_like, totals)),
            tuple(stack for _, stack in slices),
            self.loop.given.steps,
        )
        body = Graph((*(n for n, _ in consts), *carries, *(n for n, _ in slices)), (), (), outputs)
        attrs = loop_attrs(inputs, body, self.loop.length, reverse=not self.loop.reverse)
        items = iter(_items(ops.scan(*inputs.all, **attrs), 0)) if outputs else iter(())
        found: dict[Node, Node] = {}
        for j in self.ends:
            found[self.inner.carries[j]] = next(items)
        for node in added:
            found[node] = next(items)
        for node in self.sliced:
            found[node] = next(items)
        stacks |= zip(parts, items, strict=True)
        for node, one in sums.items():
            found[node] = one.total(*(stacks[p] for p in one.parts))
        wanted = zip(self.inner.all, self.loop.wants.all[len(self.loop.wants.steps) :], strict=True)
        return (*(None for _ in self.loop.given.steps), *(found.get(n) if w else None for n, w in wanted))

    def _sums(self, stacks: dict[Node, Node]) -> tuple[dict[Node, _Sum], list[Node]]:
        """For consts: what is summed over all iterations at once, and those whose sums are carried."""
        found = {n: self.per_input[n] for n in self.inner.consts if n in self.per_input}
        if self.loop.given.steps:  # rows that there were no steps for may hold anything
            return {}, list(found)
        consts = self.inner.consts
        sums = {n: one for n, g in found.items() if (one := _sum_of_products(g, consts, stacks)) is not None}
        there = {*stacks, *(p for one in sums.values() for p in one.parts)}
        sums |= {n: one for n, g in found.items() if n not in sums and (one := _sum_of_sums(g, there)) is not None}
        return sums, [n for n in found if n not in sums]


def _behind_views(gradient: Node) -> tuple[Node, list[Node]]:
    """The node that a gradient is a view of, and the views."""
    views: list[Node] = []
    while gradient.op in (ops.permute, ops.reshape, ops.cast):
        views.append(gradient)
        (gradient,) = gradient.inputs
    return gradient, views


def _sum_of_sums(gradient: Node, there: Collection[Node]) -> _Sum | None:
    """A sum over axes of what is stacked anyway, as one sum over all iterations, too."""
    gradient, views = _behind_views(gradient)
    if gradient.op is not ops.sum or gradient.inputs[0] not in there:
        return None
    axes = (0, *(a + 1 for a in gradient.attrs["axes"]))
    return _Sum(gradient.inputs, lambda x: _viewed(ops.sum(x, axes=axes), views))


def _sum_of_products(gradient: Node, consts: Collection[Node], stacks: Collection[Node]) -> _Sum | None:
    """A product of matrices, summed over all iterations, as one product of what iterations stack: a few large products
    instead of many small ones. None where stacking takes more memory than the sums would."""
    gradient, views = _behind_views(gradient)
    if gradient.op is not ops.dot_general:
        return None
    lhs, rhs = gradient.inputs
    new = [n for n in (lhs, rhs) if n not in stacks]
    room = sum(n.tensor_type.nbytes for n in new)
    if room > gradient.tensor_type.nbytes or any(_is_invariant(n, consts) for n in (lhs, rhs)):
        return None

    def total(a: Node, b: Node) -> Node:
        (ca, cb), (ba, bb) = gradient.attrs["contract"], gradient.attrs["batch"]
        attrs = dict(gradient.attrs)
        attrs["contract"] = (0, *(i + 1 for i in ca)), (0, *(i + 1 for i in cb))
        attrs["batch"] = tuple(i + 1 for i in ba), tuple(i + 1 for i in bb)
        return _viewed(ops.dot_general(a, b, **attrs), views)

    return _Sum((lhs, rhs), total)


def _is_invariant(node: Node, consts: Collection[Node]) -> bool:
    """Whether it depends on consts only, so that there is one value of it, and no stack."""
    return all(n in consts for n in topological_order((node,)) if n.op is ops.input)


def _viewed(x: Node, views: Sequence[Node]) -> Node:
    """The same views of another node of the same type."""
    for view in reversed(views):
        attrs: dict[str, Any] = dict(view.attrs)
        x = view.op(x, **attrs)
    return x
