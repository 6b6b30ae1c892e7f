"""What a kernel computes: values over named axes, and where they are stored.

Each kind of value says here all that is asked of every kind: what it is computed from, what it varies over, how it is
written, and itself with other numbers, positions, slots and axes. Whoever moves values asks a `Mapper`, and whoever
wants what they are computed from asks `closure`: nobody else goes through the kinds for that.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Self, TypeAlias

from .dataclass import dataclass
from .index import Axis, Bound, Gathered, Index
from .scalar import Builder, Number, Recipe, Scalar, from_bits, record
from .types import DType, bool_, int64


class Mapper:
    """Other numbers, slots, positions and axes for those that values and stores speak of.

    values, slots: old number → new one; where there is a table it has all that is met. positions: what takes the place
    of an axis in indices. axes: what takes the place of an axis that is reduced, or goes along a row. Axes that a table
    does not hold stay, and so does everything for which there is no table.
    """

    __slots__ = ("_axes", "_positions", "_slots", "_values")

    def __init__(
        self,
        values: Mapping[int, int] | None = None,
        slots: Mapping[int, int] | None = None,
        positions: Mapping[Axis, Index] | None = None,
        axes: Mapping[Axis, tuple[Axis, ...]] | None = None,
    ) -> None:
        self._values = values
        self._slots = slots
        self._positions = positions
        self._axes = axes

    def value(self, value: Value) -> Value:
        """The value in the new terms."""
        return value.mapped(self)

    def store(self, store: Store) -> Store:
        """The store in the new terms."""
        return Store(self.slot(store.slot), self.index(store.index), self.number(store.value), store.scatter)

    def number(self, number: int) -> int:
        return number if self._values is None else self._values[number]

    def numbers(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        return tuple([self.number(n) for n in numbers])

    def slot(self, slot: int) -> int:
        return slot if self._slots is None else self._slots[slot]

    def index(self, index: Index) -> Index:
        if self._positions:
            index = index.substitute(self._positions)
        return index if self._values is None else index.renumber(self._values)

    def bounds(self, bounds: tuple[Bound, ...]) -> tuple[Bound, ...]:
        return tuple([Bound(self.index(b.index), b.low, b.high) for b in bounds])

    def axes(self, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
        table = self._axes
        return tuple(dict.fromkeys(n for a in axes for n in table.get(a, (a,)))) if table and axes else axes


class BaseValue:
    """What holds of a value that its class says nothing else of."""

    __slots__ = ()

    @property
    def inputs(self) -> tuple[int, ...]:
        """The values that it computes with."""
        return ()

    @property
    def indices(self) -> tuple[Index, ...]:
        """The index expressions in it."""
        return ()

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """The scalar functions in it."""
        return ()

    @property
    def constants(self) -> tuple[Const, ...]:
        """The constants in it."""
        return ()

    @property
    def finishes(self) -> bool:
        """Whether it is known only when a pass over axes has ended."""
        return False

    def varies(self, inner: frozenset[Axis]) -> frozenset[Axis]:
        """The axes that it varies over, given those that its inputs and indices do."""
        return inner


@dataclass(frozen=True, slots=True)
class Load(BaseValue):
    """slots[slot][index], or 0 (never a memory access) where a bound fails. The dtype is the slot's."""

    slot: int
    index: Index
    bounds: tuple[Bound, ...]
    dtype: DType

    @property
    def indices(self) -> tuple[Index, ...]:
        return (self.index, *[b.index for b in self.bounds])

    def mapped(self, to: Mapper) -> Load:
        return Load(to.slot(self.slot), to.index(self.index), to.bounds(self.bounds), self.dtype)

    def __str__(self) -> str:
        return f"s{self.slot}[{self.index}]{_where(self.bounds)}"


@dataclass(frozen=True, slots=True)
class Const(BaseValue):
    bits: int
    dtype: DType

    @property
    def value(self) -> Number:
        return from_bits(self.bits, self.dtype)

    @property
    def constants(self) -> tuple[Const, ...]:
        return (self,)

    def mapped(self, to: Mapper) -> Const:
        return self

    def __str__(self) -> str:
        return f"{self.value}"


@dataclass(frozen=True, slots=True)
class Inside(BaseValue):
    """Whether all bounds hold."""

    bounds: tuple[Bound, ...]

    @property
    def dtype(self) -> DType:
        return bool_

    @property
    def indices(self) -> tuple[Index, ...]:
        return tuple([b.index for b in self.bounds])

    def mapped(self, to: Mapper) -> Inside:
        return Inside(to.bounds(self.bounds))

    def __str__(self) -> str:
        return f"inside{_where(self.bounds)}"


@dataclass(frozen=True, slots=True)
class Position(BaseValue):
    """The value of an index expression, as int64. Iota, and the index that argmax keeps."""

    index: Index

    @property
    def dtype(self) -> DType:
        return int64

    @property
    def indices(self) -> tuple[Index, ...]:
        return (self.index,)

    def mapped(self, to: Mapper) -> Position:
        return Position(to.index(self.index))

    def __str__(self) -> str:
        return f"position {self.index}"


@dataclass(frozen=True, slots=True)
class Apply(BaseValue):
    """A scalar recipe with one result, applied to earlier values."""

    recipe: Recipe
    inputs: tuple[int, ...]

    @property
    def dtype(self) -> DType:
        return self.recipe.dtype

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        return (self.recipe,)

    def mapped(self, to: Mapper) -> Apply:
        return Apply(self.recipe, to.numbers(self.inputs))

    def __str__(self) -> str:
        return f"{self.recipe.name}({_names(self.inputs)})"


class Joined(BaseValue):
    """What joins states along axes: from `init` on, by `combine`, and finishes the last one to a value."""

    __slots__ = ()

    combine: Recipe
    init: tuple[Const, ...]
    finish: Recipe
    inputs: tuple[int, ...]
    axes: tuple[Axis, ...]

    @property
    def dtype(self) -> DType:
        return self.finish.dtype

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        return self.combine, self.finish

    @property
    def constants(self) -> tuple[Const, ...]:
        return self.init

    def mapped(self, to: Mapper) -> Self:
        return type(self)(self.combine, self.init, self.finish, to.numbers(self.inputs), to.axes(self.axes))  # type: ignore[call-arg]


@dataclass(frozen=True, slots=True)
class Reduce(Joined):
    """Combine a tuple of values over axes, from `init`, and finish the combined tuple to one value.

    `combine` maps (state, state) to state and is associative and commutative, with `init` as its neutral element;
    a backend may reassociate, split and reorder, and may combine with `init` as often as it likes.
    The axes are its own: in a kernel without products of products they are the row, all of it.
    """

    combine: Recipe
    init: tuple[Const, ...]
    finish: Recipe
    inputs: tuple[int, ...]
    axes: tuple[Axis, ...]

    @property
    def finishes(self) -> bool:
        return True

    def varies(self, inner: frozenset[Axis]) -> frozenset[Axis]:
        return inner.difference(self.axes)

    def __str__(self) -> str:
        return f"{self.finish.name}({_names(self.inputs)}) over {', '.join(a.name for a in self.axes)}"


@dataclass(frozen=True, slots=True)
class Scan(Joined):
    """At each point of its axes, in row-major order, what all points up to it combine to, finished to one value.

    `combine` maps (state, state) to state and is associative, but need not be commutative; `init` is its neutral
    element. A backend may reassociate, and split the row into blocks, but keeps the order. The axes are the kernel's
    row axes, all of them, in their order; the value varies over them. What uses it may do so in the same pass.
    """

    combine: Recipe
    init: tuple[Const, ...]
    finish: Recipe
    inputs: tuple[int, ...]
    axes: tuple[Axis, ...]

    def varies(self, inner: frozenset[Axis]) -> frozenset[Axis]:
        return inner.union(self.axes)

    def __str__(self) -> str:
        return f"{self.finish.name}({_names(self.inputs)}) along {', '.join(a.name for a in self.axes)}"


@dataclass(frozen=True, slots=True)
class Dot(BaseValue):
    """The sum over its axes of a · b, accumulated in `dtype`. Operands may be sums and reductions themselves."""

    inputs: tuple[int, int]
    axes: tuple[Axis, ...]
    dtype: DType

    @property
    def finishes(self) -> bool:
        return True

    def varies(self, inner: frozenset[Axis]) -> frozenset[Axis]:
        return inner.difference(self.axes)

    def mapped(self, to: Mapper) -> Dot:
        a, b = self.inputs
        return Dot((to.number(a), to.number(b)), to.axes(self.axes), self.dtype)

    def __str__(self) -> str:
        return f"dot({_names(self.inputs)}) over {', '.join(a.name for a in self.axes)}"


@dataclass(frozen=True, slots=True)
class Accumulate(Joined):
    """A reduction over parallel axes, as `Reduce` is one over the row: complete when the kernel has ended, so that only
    stores take it. It lies in memory meanwhile, where each point takes in its own."""

    combine: Recipe
    init: tuple[Const, ...]
    finish: Recipe
    inputs: tuple[int, ...]
    axes: tuple[Axis, ...]

    def varies(self, inner: frozenset[Axis]) -> frozenset[Axis]:
        return inner.difference(self.axes)

    def __str__(self) -> str:
        return f"{self.finish.name}({_names(self.inputs)}) accumulated over {', '.join(a.name for a in self.axes)}"


Monoidal: TypeAlias = Reduce | Scan | Accumulate  # what joins states
Value: TypeAlias = Load | Const | Inside | Position | Apply | Reduce | Scan | Dot | Accumulate


@dataclass(frozen=True, slots=True)
class Store:
    """slots[slot][index] = value, converted to the slot's dtype.

    Where the value is accumulated, `index` does not depend on the axes that it is accumulated over. With `scatter`,
    `index` holds gathered terms, several points may meet, and their values are added to what the slot holds.
    """

    slot: int
    index: Index
    value: int
    scatter: bool = False

    @property
    def needs(self) -> tuple[int, ...]:
        """The values that it needs: what it stores, and what it gathers its place by."""
        return (self.value, *[g.value for g in self.index.gathered()])

    def __str__(self) -> str:
        return f"s{self.slot}[{self.index}] {'+=' if self.scatter else '='} v{self.value}"


def component(init: Sequence[Const], number: int) -> Recipe:
    """A finish that gives one component of a state as it is."""
    return record("state", _component, tuple(c.dtype for c in init), {"number": number})


def _component(s: Builder, *state: Scalar, number: int) -> Scalar:
    return state[number]


def gathered(indexes: Iterable[Index]) -> tuple[Gathered, ...]:
    return tuple([g for i in indexes for g in i.gathered()])


def dependencies(value: Value) -> tuple[int, ...]:
    """All values that must be known first: inputs, and those that its indices gather by."""
    return (*value.inputs, *[g.value for i in value.indices for g in i.gathered()])


def closure(values: Sequence[Value], roots: Iterable[int], known: Container[int] = ()) -> tuple[int, ...]:
    """The numbers, in order, of all values that `roots` are computed from, `roots` among them. `known` ones are there
    where they are needed, but not what those come of."""
    found: set[int] = set()
    pending = list(roots)
    while pending:
        number = pending.pop()
        if number not in found:
            found.add(number)
            if number not in known:
                pending.extend(dependencies(values[number]))
    return tuple(sorted(found))


def _where(bounds: tuple[Bound, ...]) -> str:
    return f" where {' and '.join(map(str, bounds))}" if bounds else ""


def _names(numbers: Iterable[int]) -> str:
    return ", ".join(f"v{i}" for i in numbers)
