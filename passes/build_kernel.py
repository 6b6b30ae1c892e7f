"""From a group of nodes to a finished `Kernel`.

In: a domain, members in topological order and those of them to store. Splits axes until every index is affine,
traces the stores, then drops what nothing needs, merges axes that are walked contiguously, and names axes and
values canonically, so that equal work gives equal kernels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from graphc.index import Axis, Floor, Index, Mod, flatten
from graphc.ir import Node
from graphc.kernel import Accumulate, Dot, Kernel, Load, Reduce, Scan, Slot, Store
from graphc.op import Kind
from graphc.value import Mapper, closure

from .kernel_tracer import CannotFuse, Domain, KernelTracer, describe

MOST_SPLITS = 16


class PlannedStore(NamedTuple):
    """A store in the making: a member's value, by its number in the tracer, at a position of the member's buffer."""

    node: Node
    position: Index
    value: int


def build_kernel(
    domain: Domain, members: Sequence[Node], absorbed: Iterable[Node], stored: Sequence[Node]
) -> tuple[Kernel, tuple[Node, ...]]:
    """The kernel that computes `members` and stores `stored`, and the node that each of its slots holds.

    `absorbed` are nodes that are traced through and never stored. Raises CannotFuse where the group is no loop nest.
    """
    inside = {*members, *absorbed}
    for _ in range(MOST_SPLITS):
        tracer = KernelTracer(domain, inside)
        for node in members:
            tracer.own_index(node)
        stores = [store_of(tracer, node) for node in stored]
        used = [i for v in tracer.values for i in v.indices]
        split = find_split(tracer, [*used, *(s.position for s in stores)])
        if split is None:
            break
        domain = domain.split(*split)
    return finish_kernel(tracer, stores)


def store_of(tracer: KernelTracer, node: Node) -> PlannedStore:
    """What storing a member takes. Raises CannotFuse where the kernel can't compute it."""
    at = tracer.own_index(node)
    position = flatten(at, node.shape)
    if node.op.kind is Kind.REDUCTION:
        over, _ = tracer.reduced_axes(node)
        if over and over != tracer.row_axes:
            if any(isinstance(v, Scan) for v in tracer.values):
                raise CannotFuse(f"{describe(node)} is not reduced over the row that a cumulative value goes along")
            return PlannedStore(node, position, accumulated(tracer, node, over))
    return PlannedStore(node, position, tracer.value(node, at))


def trace_members(tracer: KernelTracer, members: Iterable[Node]) -> None:
    """Trace more members, each as it will be stored."""
    for node in members:
        tracer.step()
        tracer.own_index(node)
        store_of(tracer, node)


def accumulated(tracer: KernelTracer, node: Node, over: set[Axis]) -> int:
    """The value of a reduction over parallel axes: of elements, or of rows' states."""
    row = tracer.row_axes
    if over & row and not row <= over:
        raise CannotFuse(f"{describe(node)} reduces other axes than the kernel's row")
    return tracer.accumulate(node, _ordered(over - row, tracer.axes), bool(row) and row <= over)


def _ordered(axes: set[Axis], order: Iterable[Axis]) -> tuple[Axis, ...]:
    return tuple(a for a in order if a in axes)


def find_split(tracer: KernelTracer, positions: Iterable[Index]) -> tuple[int, int] | None:
    """The number of an axis to split, and the inner size, so that a division in `positions` is resolved."""
    numbers = {a: n for n, a in enumerate(tracer.axes)}
    for division in (d for index in positions for d in index.divisions()):
        found = _split_for(division)
        if found is not None and found[0] in numbers:
            return numbers[found[0]], found[1]
    return None


def _split_for(division: Floor | Mod) -> tuple[Axis, int] | None:
    """In (c·axis + rest) // k with 0 ≤ rest < c and c·inner = k, axis = inner·outer + inner axis resolves it."""
    for term, c in division.index.terms:
        if not isinstance(term, Axis) or c <= 0 or division.divisor % c:
            continue
        inner = division.divisor // c
        low, high = division.index.without(term).range()
        if low >= 0 and high < c and 1 < inner < term.size and term.size % inner == 0:
            return term, inner
    return None


def finish_kernel(
    tracer: KernelTracer, stores: Sequence[PlannedStore], scatter: bool = False
) -> tuple[Kernel, tuple[Node, ...]]:
    """Keep what the stores need, number values and slots anew, loaded slots first."""
    order = closure(tracer.values, [n for s in stores for n in (s.value, *(g.value for g in s.position.gathered()))])
    numbers = {old: new for new, old in enumerate(order)}
    loaded = _unique(v.slot for n in order if isinstance(v := tracer.values[n], Load))
    nodes = [tracer.slots[s] for s in loaded]
    slots = {old: new for new, old in enumerate(loaded)}
    to = Mapper(numbers, slots)
    values = tuple(to.value(tracer.values[n]) for n in order)
    finished = []
    for node, place, value in stores:
        finished.append(Store(len(nodes), to.index(place), to.number(value), scatter))
        nodes.append(node)
    groups = tracer.groups(values, frozenset[Axis]().union(*(s.index.axes for s in finished)))
    described = tuple(Slot(n.dtype, n.tensor_type.size, slot_name(n)) for n in nodes)
    kernel = Kernel(described, *groups, values, tuple(finished))
    return canonical(kernel), tuple(nodes)


def slot_name(node: Node) -> str:
    """What a reader calls the node: its own name for inputs and variables, else its op's."""
    return str(node.attrs.get("name", node.op.name))


def _unique(numbers: Iterable[int]) -> list[int]:
    return list(dict.fromkeys(numbers))


def canonical(kernel: Kernel) -> Kernel:
    """Axes of size 1 dropped, contiguous neighbours merged, the rest named i0, i1, …, r0, …, k0, …"""
    parallel = [a for a in kernel.parallel if a.size != 1]
    row = [a for a in kernel.row if a.size != 1] or list(kernel.row[:1])
    contracted = [a for a in kernel.contracted if a.size != 1] or list(kernel.contracted[:1])
    table: dict[Axis, Index] = {}
    all_indices = kernel.indices
    over = [set(v.axes) for v in kernel.values if isinstance(v, Accumulate | Reduce | Scan | Dot)]
    for group in (parallel, row, contracted):
        in_order = kernel.in_order and group is row
        _merge(group, all_indices, over, table, in_order)
    names: dict[Axis, Axis] = {}
    for letter, group in (("i", parallel), ("r", row), ("k", contracted)):
        for n, axis in enumerate(group):
            names[axis] = Axis(f"{letter}{n}", axis.size)
    return _rename(kernel, table, names, (tuple(parallel), tuple(row), tuple(contracted)))


def _merge(
    group: list[Axis], all_indices: list[Index], summed: list[set[Axis]], table: dict[Axis, Index], in_order: bool
) -> None:
    """Merge pairs (outer, inner) of a group that every index walks as one: coefficient(outer) = coefficient(inner)
    · size(inner) everywhere; `in_order`: only where inner follows outer. `table` collects what a merged axis is to be
    replaced by; `all_indices` follows."""
    merged = True
    while merged:
        merged = False
        for outer in group:
            for inner in group:
                if in_order and group.index(inner) != group.index(outer) + 1:
                    continue
                if outer is inner or not _walks_as_one(outer, inner, all_indices, summed):
                    continue
                whole = Axis(f"{outer.name}{inner.name}", outer.size * inner.size)
                step = {outer: Index(), inner: Index.of(whole)}
                for axis in list(table):
                    table[axis] = table[axis].substitute(step)
                table.update(step)
                all_indices[:] = [i.substitute(step) for i in all_indices]
                for over in summed:
                    if outer in over:
                        over -= {outer, inner}
                        over.add(whole)
                group[group.index(inner)] = whole
                group.remove(outer)
                merged = True
                break
            if merged:
                break


def _walks_as_one(
    outer: Axis, inner: Axis, all_indices: Iterable[Index], summed: Iterable[set[Axis]]
) -> bool:
    for index in all_indices:
        if outer in index.axes or inner in index.axes:
            if not (index.is_linear_in(outer) and index.is_linear_in(inner)):
                return False
            if index.coefficient(outer) != index.coefficient(inner) * inner.size:
                return False
    return all((outer in over) == (inner in over) for over in summed)


def _rename(
    kernel: Kernel,
    table: Mapping[Axis, Index],
    names: Mapping[Axis, Axis],
    groups: tuple[tuple[Axis, ...], tuple[Axis, ...], tuple[Axis, ...]],
) -> Kernel:
    """Substitute merged axes, then names, everywhere."""
    final = {
        axis: index.substitute({a: Index.of(n) for a, n in names.items()}) for axis, index in table.items()
    }
    reduced: dict[Axis, tuple[Axis, ...]] = dict.fromkeys((*kernel.parallel, *kernel.row, *kernel.contracted), ())
    reduced |= {axis: tuple(index.axes) for axis, index in final.items()}
    reduced |= {axis: (name,) for axis, name in names.items()}
    for axis, name in names.items():
        final[axis] = Index(((name, 1),)) if name.size != 1 else Index()
    to = Mapper(positions=final, axes=reduced)
    values, stores = tuple(map(to.value, kernel.values)), tuple(map(to.store, kernel.stores))
    parallel, row, contracted = (tuple(names[a] for a in group) for group in groups)
    return Kernel(kernel.slots, parallel, row, contracted, values, stores)
