"""Traces a group of nodes at symbolic indices, which turns them into one kernel's values.

In: member nodes and the axes they share. Out: values, and for each member its own *index*: in kernel axes, where
its elements are computed and stored. What can't be one loop nest raises `CannotFuse` with the reason.
Views vanish here: they only change the index at which their input is traced.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from graphc import ops
from graphc.costs import Costs
from graphc.dataclass import dataclass
from graphc.index import Axis, Bound, Gathered, Index, axes_size, flatten, unflatten
from graphc.ir import Node
from graphc.kernel import Accumulate, Apply, Const, Dot, Inside, Load, Position, Reduce, Scan, Value
from graphc.op import Kind, Piece
from graphc.scalar import Builder, Recipe, Scalar, record, to_bits
from graphc.types import DType, bool_, int64
from graphc.value import component

from .recipes import StateRecipes, reduction_recipes, running_recipes, scalar_recipe

Indices = tuple[Index, ...]
Mark = tuple[int, int, int, int]  # how many values, memos, slots and own indices there are


class CannotFuse(Exception):
    """The nodes can't share a kernel; says why."""


@dataclass(frozen=True)
class Domain:
    """The iteration space of a group.

    `dims` is the shape it started from; `factors[d]` splits dimension d into axes, outermost first, so that
    reshapes inside the group become affine; `reduced` are the numbers of the axes (in order over all factors)
    that reductions run over; `contracted` the sizes of a contraction's summed axes.
    """

    dims: tuple[int, ...]
    factors: tuple[tuple[int, ...], ...]
    reduced: frozenset[int] = frozenset()
    contracted: tuple[int, ...] = ()

    @staticmethod
    def over(shape: tuple[int, ...], contracted: tuple[int, ...] = ()) -> Domain:
        return Domain(shape, tuple((size,) for size in shape), frozenset(), contracted)

    def axes(self) -> tuple[Axis, ...]:
        sizes = [f for group in self.factors for f in group]
        return tuple(Axis(f"{'r' if n in self.reduced else 'i'}{n}", size) for n, size in enumerate(sizes))

    def split(self, axis: int, inner: int) -> Domain:
        """Axis number `axis` split in two, the inner one of size `inner`."""
        factors, number = [], 0
        for group in self.factors:
            new: list[int] = []
            for size in group:
                new += [size // inner, inner] if number == axis else [size]
                number += 1
            factors.append(tuple(new))
        reduced = {n + (n > axis) for n in self.reduced} | ({axis + 1} if axis in self.reduced else set())
        return Domain(self.dims, tuple(factors), frozenset(reduced), self.contracted)

    @property
    def size(self) -> int:
        """The number of points, without the contracted axes."""
        return math.prod(self.dims)

    def reducing(self, reduced: Iterable[int]) -> Domain:
        return Domain(self.dims, self.factors, frozenset(reduced), self.contracted)


class Effort(NamedTuple):
    """What a kernel takes: how many values it has and how many of them are computed by recipes, these recipes'
    instructions, and the passes over the row, in each of which what varies along it may have to be computed again."""

    values: int
    applied: int
    cost: int
    passes: int

    def check(self, costs: Costs) -> None:
        """Raise CannotFuse beyond what one kernel may take."""
        if self.values > costs.values:
            raise CannotFuse(f"the kernel would compute more than {costs.values} values")
        if self.cost > costs.instructions:
            raise CannotFuse(f"the kernel would take more than {costs.instructions} instructions for each element")
        if self.passes > costs.passes:
            raise CannotFuse(f"the kernel would go over its row more than {costs.passes} times")


NO_EFFORT = Effort(0, 0, 0, 1)


class KernelTracer:
    """Values of a growing group of member nodes. `members` may be added to; what was traced stays valid, since a
    node that was loaded before is never a member later (nodes join in topological order)."""

    def __init__(self, domain: Domain, members: set[Node]) -> None:
        self.domain = domain
        self.members = members
        self.axes = domain.axes()
        self.row = tuple(a for n, a in enumerate(self.axes) if n in domain.reduced)
        self.parallel = tuple(a for n, a in enumerate(self.axes) if n not in domain.reduced)
        self.contracted = tuple(Axis(f"k{n}", size) for n, size in enumerate(domain.contracted))
        self.at = self._dimension_indices()
        self.values: list[Value] = []
        self._levels: list[int] = []  # of each value: how many reductions must have finished
        self._efforts = [NO_EFFORT]  # of the first values
        self.limits: Costs | None = None  # what more would cost too much raises CannotFuse
        self.value_axes: list[frozenset[Axis]] = []
        self.slots: list[Node] = []
        self.own_indices: dict[Node, Indices] = {}
        self._numbers: dict[Value, int] = {}
        self._memo: dict[tuple[Node, Indices, tuple[Bound, ...]], int] = {}
        self.slot_numbers: dict[Node, int] = {}
        self.steps: list[Mark] = []

    def _dimension_indices(self) -> Indices:
        result, number = [], 0
        for group in self.domain.factors:
            axes = self.axes[number : number + len(group)]
            result.append(flatten([Index.of(a) for a in axes], [a.size for a in axes]))
            number += len(group)
        return tuple(result)

    # Homes

    def own_index(self, node: Node) -> Indices:
        """The index of the node's elements in kernel axes: a bijection between its elements and the full domain,
        or the parallel axes alone. Any choice is correct; this one keeps indices affine."""
        found = self.own_indices.get(node)
        if found is None:
            found = self.own_indices[node] = self._find_own_index(node)
        return found

    def _find_own_index(self, node: Node) -> Indices:
        shape = node.shape
        if node.op.kind in (Kind.ELEMENTWISE, Kind.CUMULATIVE):
            for i in node.inputs:
                if self._is_inside(i):
                    return self.own_index(i)
        elif node.op.kind is Kind.REDUCTION and node in self.members:
            x = self.own_index(node.inputs[0])
            return tuple(index for d, index in enumerate(x) if d not in node.attrs["axes"])
        elif node.op.inverse is not None and self._is_inside(node.inputs[0]):
            found = node.op.inverse(self.own_index(node.inputs[0]), *types_of(node), **node.attrs)
            if not _goes_back(found) or self._goes_in_order(node.inputs[0]):
                return found
        if shape == self.domain.dims:
            return self.at
        size = node.tensor_type.size
        for axes in (self.axes, self.parallel):
            if size == axes_size(axes):
                return unflatten(flatten([Index.of(a) for a in axes], [a.size for a in axes]), shape)
        raise CannotFuse(f"{describe(node)} has another iteration space than {list(self.domain.dims)}")

    def _is_inside(self, node: Node) -> bool:
        """Whether the node is a member, or a rearrangement of one, with an index of its own."""
        while node.op.inverse is not None and node not in self.own_indices:
            node = node.inputs[0]
        return node in self.own_indices and node in self.members

    def _goes_in_order(self, node: Node) -> bool:
        """Whether the node is inside, and cumulative values fix where: what reads it reversed has its index there."""
        return self._is_inside(node) and any(n.op.kind is Kind.CUMULATIVE for n in self.own_indices)

    # Values

    def value(self, node: Node, index: Indices, bounds: tuple[Bound, ...] = ()) -> int:
        """The number of the value that `node` has at `index`, computed where `bounds` hold (anything elsewhere).

        Chains of elementwise members, which may be longer than Python's stack is deep, are walked without recursion.
        """
        memo, pending = self._memo, [node]
        known = memo.get((node, index, bounds))
        if known is not None:
            return known
        while pending:
            last = pending[-1]
            waiting: Node | None = None
            if self._passes_on(last):
                waiting = next((i for i in last.inputs if (i, index, bounds) not in memo), None)
            if waiting is not None and self._passes_on(waiting):
                pending.append(waiting)
            else:
                ready = last if waiting is None else waiting
                if (ready, index, bounds) not in memo:
                    memo[ready, index, bounds] = self._trace(ready, index, bounds)
                if waiting is None:
                    pending.pop()
        return memo[node, index, bounds]

    def _passes_on(self, node: Node) -> bool:
        """Whether the node reads its inputs where it is read itself."""
        return node.op.kind is Kind.ELEMENTWISE and node in self.members

    def _trace(self, node: Node, index: Indices, bounds: tuple[Bound, ...]) -> int:
        op = node.op
        if op is ops.constant and node.tensor_type.size == 1:
            wide = node.dtype.computes_as
            return self.constant(node.attrs["value"].array.reshape(()).astype(wide.numpy).item(), wide)
        if op.kind is Kind.POSITION:
            position = self.add(Position(op.position(index, **node.attrs)))  # type: ignore[misc]
            return self.converted(position, node.dtype.computes_as)
        if node not in self.members:
            return self.add(Load(self.slot(node), flatten(index, node.shape), bounds, node.dtype))
        match op.kind:
            case Kind.ELEMENTWISE:
                return self._elementwise(node, index, bounds)
            case Kind.VIEW:
                return self._pieces(node, op.pull(index, *types_of(node), **node.attrs), bounds)  # type: ignore[misc]
            case Kind.INDEXED:
                pieces = op.pull(index, self._reader(node, bounds), *types_of(node), **node.attrs)  # type: ignore[misc]
                return self._pieces(node, pieces, bounds)
            case Kind.REDUCTION:
                return self._reduction(node, index, bounds)
            case Kind.CUMULATIVE:
                return self._cumulation(node, index, bounds)
            case Kind.CONTRACTION:
                return self._contraction(node, index, bounds)
        raise CannotFuse(f"{describe(node)} has a kernel of its own")

    def add(self, value: Value) -> int:
        """The number of a value; equal values have one."""
        number = self._numbers.get(value)
        if number is None:
            used = value.inputs
            axes = frozenset().union(*[i.axes for i in value.indices], *[self.value_axes[i] for i in used])
            level = max([self._levels[i] for i in used], default=0)
            count, applied, cost, passes = self._efforts[-1]
            if isinstance(value, Apply):
                applied += 1
                cost += value.recipe.cost
            elif value.finishes:
                level += 1
                passes = max(passes, level + 1)
            effort = Effort(count + 1, applied, cost, passes)
            if self.limits is not None:
                effort.check(self.limits)
            number = self._numbers[value] = len(self.values)
            self.values.append(value)
            self.value_axes.append(value.varies(axes))
            self._levels.append(level)
            self._efforts.append(effort)
        return number

    def groups(
        self, values: tuple[Value, ...], used: frozenset[Axis]
    ) -> tuple[tuple[Axis, ...], tuple[Axis, ...], tuple[Axis, ...]]:
        """The parallel, row and contracted axes of a kernel of these values, whose stores are at the axes `used`."""
        if any(isinstance(v, Reduce | Scan) for v in values):
            return self.parallel, self.row, self.contracted
        # nothing needs a row: it is like other axes
        return (*self.parallel, *(a for a in self.row if a in used)), (), self.contracted

    @property
    def effort(self) -> Effort:
        """What all values take."""
        return self._efforts[-1]

    def slot(self, node: Node) -> int:
        """The number of the slot that holds a node's elements."""
        number = self.slot_numbers.get(node)
        if number is None:
            number = self.slot_numbers[node] = len(self.slots)
            self.slots.append(node)
        return number

    def constant(self, value: Any, dtype: DType) -> int:
        return self.add(Const(to_bits(value, dtype), dtype))

    def apply(self, recipe: Recipe, *numbers: int) -> int:
        """The recipe's value; none of its own where it hands a parameter through or ignores them all."""
        (result,) = recipe.results
        if result < len(numbers):
            return numbers[result]
        step = recipe.steps[result - len(numbers)]
        if step.bits is not None:
            return self.add(Const(step.bits, step.dtype))
        return self.add(Apply(recipe, numbers))

    def converted(self, number: int, dtype: DType) -> int:
        """The value as another dtype: 16-bit floats are widened before they are computed with."""
        source = self.values[number].dtype
        if source is dtype:
            return number
        return self.apply(record("cast", _cast, (source,), {"dtype": dtype}), number)

    def _elementwise(self, node: Node, index: Indices, bounds: tuple[Bound, ...]) -> int:
        recipe = scalar_recipe(node)
        expensive = self.limits is not None and recipe.cost >= self.limits.expensive
        if expensive and self.own_indices.get(node, index) != index and not bounds:
            spanned = frozenset().union(*(i.axes for i in index))
            if spanned >= set(self.axes):
                raise CannotFuse(f"{describe(node)} would be computed again at another index")
        numbers = [self.value(i, index, bounds) for i in node.inputs]
        wide = [self.converted(n, dtype) for n, dtype in zip(numbers, recipe.params, strict=True)]
        return self.apply(recipe, *wide)

    def _pieces(self, node: Node, pieces: Sequence[Any], bounds: tuple[Bound, ...]) -> int:
        """The first piece whose bounds hold; the last is what remains, and its bounds only guard its loads."""
        possible = [p for p in pieces[:-1] if not any(b.never for b in p.bounds)] + [pieces[-1]]
        result: int | None = None
        for piece in reversed(possible):
            limits = tuple(b for b in piece.bounds if not b.always)
            number = self.value(node.inputs[piece.input], piece.index, bounds + limits)
            if result is None or not limits:
                result = number
            else:
                number, result = self._widened(number), self._widened(result)
                mask = self.add(Inside(limits))
                result = self.apply(_select_recipe(self.values[number].dtype), mask, number, result)
        assert result is not None
        return result

    def _widened(self, number: int) -> int:
        return self.converted(number, self.values[number].dtype.computes_as)

    def _reader(self, node: Node, bounds: tuple[Bound, ...]) -> Any:
        """`read` for an op that gathers: an element of an index tensor as a term."""

        def read(position: int, index: Indices, size: int) -> Index:
            number = self.converted(self.value(node.inputs[position], index, bounds), int64)
            return Index(((Gathered(number, size, self.value_axes[number]), 1),))

        return read

    def _reduction(self, node: Node, index: Indices, bounds: tuple[Bound, ...]) -> int:
        if bounds:
            raise CannotFuse(f"{describe(node)} is used inside a pad or concat")
        if index != self.own_index(node):
            raise CannotFuse(f"{describe(node)} is used at another index than it is computed at")
        over, _ = self.reduced_axes(node)
        if over and over != self.row_axes:
            raise CannotFuse(
                f"{describe(node)} is reduced over parallel axes and complete only when the kernel has ended"
            )
        return self.reduce(node, bool(over))

    @property
    def row_axes(self) -> set[Axis]:
        """The row axes that indices can mention: those longer than 1."""
        return {a for a in self.row if a.size != 1}

    def reduce(self, node: Node, over_row: bool = True) -> int:
        """The value of a reduction over the row axes; or over nothing but axes of size 1, which just passes on."""
        return self.reduced(node, self.row if over_row else ())

    def reduced(self, node: Node, over: tuple[Axis, ...]) -> int:
        """The value of a reduction over these axes; over none, it just passes on."""
        parts, lifted = self._lifted(node)
        if not over:
            return self.apply(parts.finish, *lifted)
        return self.add(Reduce(parts.combine, parts.init, parts.finish, lifted, over))

    def accumulate(self, node: Node, axes: tuple[Axis, ...], rows: bool) -> int:
        """The value of a reduction over parallel axes, of states that are elements or whole `rows` each."""
        parts, states = self._lifted(node)
        if rows:
            finishes = [component(parts.init, n) for n in range(len(states))]
            if len(states) == 1 and not parts.finish.steps:
                finishes = [parts.finish]
            states = tuple(self.add(Reduce(parts.combine, parts.init, f, states, self.row)) for f in finishes)
        return self.add(Accumulate(parts.combine, parts.init, parts.finish, states, axes))

    def _lifted(self, node: Node) -> tuple[StateRecipes, tuple[int, ...]]:
        """The recipes of a reduction, and the states of its input's elements."""
        x = node.inputs[0]
        at = self.own_index(x)
        number = self.converted(self.value(x, at), x.dtype.computes_as)
        parts = reduction_recipes(node.op, x.dtype.computes_as)
        lifted = []
        for lift in parts.lift:
            if len(lift.params) == 2:
                reduced = node.attrs["axes"]
                place = flatten([at[d] for d in reduced], [x.shape[d] for d in reduced])
                lifted.append(self.apply(lift, number, self.add(Position(place))))
            else:
                lifted.append(self.apply(lift, number))
        return parts, tuple(lifted)

    def _cumulation(self, node: Node, index: Indices, bounds: tuple[Bound, ...]) -> int:
        """The value of a cumulative op along the row; or along nothing but axes of size 1, which just passes on."""
        if bounds:
            raise CannotFuse(f"{describe(node)} is used inside a pad or concat")
        if index != self.own_index(node):
            raise CannotFuse(f"{describe(node)} is used at another index than it is computed at")
        along = self.cumulated_axes(node)
        if along and along == self.row_axes and not self.goes_along_row(node):
            raise CannotFuse(f"{describe(node)} goes along the kernel's row in another order")
        if along and along != self.row_axes:
            raise CannotFuse(f"{describe(node)} goes along other axes than the kernel's row")
        parts = running_recipes(node.op, len(node.inputs), node.dtype.computes_as)
        numbers = [self.converted(self.value(i, index), i.dtype.computes_as) for i in node.inputs]
        lifted = tuple(self.apply(lift, *numbers) for lift in parts.lift)
        if not along:
            return self.apply(parts.finish, *lifted)
        return self.add(Scan(parts.combine, parts.init, parts.finish, lifted, self.row))

    def cumulated_axes(self, node: Node) -> set[Axis]:
        """The kernel axes that a cumulative node goes along, without those of size 1."""
        at, along = self.own_index(node), node.attrs["axis"]
        if any(True for index in at for _ in index.divisions()):
            raise CannotFuse(f"{describe(node)} goes across a reshape")
        rest = set().union(*(i.axes for d, i in enumerate(at) if d != along)) if len(at) > 1 else set()
        if rest & at[along].axes:
            raise CannotFuse(f"{describe(node)} goes across a reshape")
        return set(at[along].axes)

    def goes_along_row(self, node: Node) -> bool:
        """Whether the places of a cumulative node are those of the row, in its order."""
        place = flatten([Index.of(a) for a in self.row], [a.size for a in self.row])
        return self.own_index(node)[node.attrs["axis"]] == place

    def reduced_axes(self, node: Node) -> tuple[set[Axis], set[Axis]]:
        """The kernel axes that a reduction node runs over, and those it keeps. Axes of size 1 are in neither."""
        at = self.own_index(node.inputs[0])
        reduced = node.attrs["axes"]
        if any(True for index in at for _ in index.divisions()):
            raise CannotFuse(f"{describe(node)} reduces across a reshape")
        over = set().union(*(at[d].axes for d in reduced)) if reduced else set()
        kept = (
            set().union(*(i.axes for d, i in enumerate(at) if d not in reduced))
            if len(at) > len(reduced)
            else set()
        )
        if over & kept:
            raise CannotFuse(f"{describe(node)} reduces across a reshape")
        return over, kept

    def _contraction(self, node: Node, index: Indices, bounds: tuple[Bound, ...]) -> int:
        if bounds or index != self.own_index(node):
            raise CannotFuse(f"{describe(node)} is used at another index than it is computed at")
        lowering = node.op.contraction
        assert lowering is not None
        contracted = tuple(Index.of(a) for a in self.contracted) or (Index(),) * len(contracted_sizes(node))
        pieces = lowering.operands(index, contracted, *types_of(node), **node.attrs)
        return self.product(node, pieces, self.contracted)

    def product(self, node: Node, pieces: Sequence[Piece], over: tuple[Axis, ...]) -> int:
        """The value of a contraction whose operands are these pieces, summed over these axes; over none, it is an outer
        product."""
        a, b = (self._operand(node.inputs[p.input], p) for p in pieces)
        dtype = node.dtype.computes_as
        if not over:
            a, b = self.converted(a, dtype), self.converted(b, dtype)
            return self.apply(record("multiply", _multiply, (dtype, dtype)), a, b)
        a, b = (self.converted(x, node.inputs[p.input].dtype) for x, p in zip((a, b), pieces, strict=True))
        return self.add(Dot((a, b), over, dtype))

    def _operand(self, node: Node, piece: Piece) -> int:
        """What a contraction multiplies: 0 where a bound fails. A load is so by itself; what is computed of one, or
        chosen from several, has to be made so."""
        number = self.value(node, piece.index, piece.bounds)
        limits, value = tuple(b for b in piece.bounds if not b.always), self.values[number]
        if not limits or (isinstance(value, Load) and {*limits} <= {*value.bounds}):
            return number
        number = self._widened(number)
        dtype = self.values[number].dtype
        return self.apply(_select_recipe(dtype), self.add(Inside(limits)), number, self.constant(0, dtype))

    # Trials

    def step(self) -> None:
        """Begin with one more member."""
        self.steps.append((len(self.values), len(self._memo), len(self.slots), len(self.own_indices)))

    def back(self, steps: int) -> None:
        """Forget everything that was traced after so many steps. Dicts keep insertion order, so the newest go first."""
        values, memo, slots, own_indices = self.steps[steps]
        del self.steps[steps:]
        del self.values[values:], self.value_axes[values:], self.slots[slots:]
        del self._levels[values:], self._efforts[values + 1 :]
        for table, size in (
            (self._numbers, values), (self._memo, memo), (self.slot_numbers, slots), (self.own_indices, own_indices),
        ):  # fmt: skip
            while len(table) > size:
                table.popitem()


def types_of(node: Node) -> tuple[Any, ...]:
    """The types of its inputs, as the functions of an op's declaration take them."""
    return tuple(i.type for i in node.inputs)


def _goes_back(index: Indices) -> bool:
    """Whether an axis is walked from its end."""
    return any(c < 0 for i in index for _, c in i.terms)


def describe(node: Node) -> str:
    """How a reason names a node."""
    return f"{node.op.name} {node.type}"


def contracted_sizes(node: Node) -> tuple[int, ...]:
    """The sizes of the axes that a contraction sums over."""
    assert node.op.contraction is not None
    return node.op.contraction.sizes(*types_of(node), **node.attrs)


def _multiply(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return a * b


def _cast(s: Builder, x: Scalar, dtype: DType) -> Scalar:
    return s.cast(x, dtype)


def _select(s: Builder, mask: Scalar, a: Scalar, b: Scalar) -> Scalar:
    return s.select(mask, a, b)


def _select_recipe(dtype: DType) -> Recipe:
    return record("select", _select, (bool_, dtype, dtype))
