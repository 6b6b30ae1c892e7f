"""Kernels: values over named axes. The one description that every backend lowers.

A kernel holds no loops, no nodes and no closures: it is data that can be printed, hashed, compared and tested.
Which passes over a row are needed follows from `level`; what is loop-invariant follows from `axes`.

    Kernel  axes (parallel, row, contracted), slots, values, stores
    Value   Load | Const | Inside | Position | Apply | Reduce | Scan | Dot
    Store   slot[index] = value, or += summed over parallel axes
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, Generic, TypeAlias, TypeVar, overload

import numpy as np

from .cached import cached_property
from .dataclass import dataclass, field_names
from .index import Axis, Bound, Gathered, Index
from .scalar import Number, Recipe, from_bits
from .types import DType, bool_, int64

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Load:
    """slots[slot][index], or 0 (never a memory access) where a bound fails. The dtype is the slot's."""

    slot: int
    index: Index
    bounds: tuple[Bound, ...]
    dtype: DType


@dataclass(frozen=True, slots=True)
class Const:
    bits: int
    dtype: DType

    @property
    def value(self) -> Number:
        return from_bits(self.bits, self.dtype)


@dataclass(frozen=True, slots=True)
class Inside:
    """Whether all bounds hold."""

    bounds: tuple[Bound, ...]

    @property
    def dtype(self) -> DType:
        return bool_


@dataclass(frozen=True, slots=True)
class Position:
    """The value of an index expression, as int64. Iota, and the index that argmax keeps."""

    index: Index

    @property
    def dtype(self) -> DType:
        return int64


@dataclass(frozen=True, slots=True)
class Apply:
    """A scalar recipe with one result, applied to earlier values."""

    recipe: Recipe
    inputs: tuple[int, ...]

    @property
    def dtype(self) -> DType:
        return self.recipe.dtype


@dataclass(frozen=True, slots=True)
class Reduce:
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
    def dtype(self) -> DType:
        return self.finish.dtype


@dataclass(frozen=True, slots=True)
class Scan:
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

    @property
    def dtype(self) -> DType:
        return self.finish.dtype


@dataclass(frozen=True, slots=True)
class Dot:
    """The sum over its axes of a · b, accumulated in `dtype`. Operands may be sums and reductions themselves."""

    inputs: tuple[int, int]
    axes: tuple[Axis, ...]
    dtype: DType


Value: TypeAlias = Load | Const | Inside | Position | Apply | Reduce | Scan | Dot


@dataclass(frozen=True, slots=True)
class Store:
    """slots[slot][index] = value, converted to the slot's dtype.

    With `accumulate`, the value is summed over those parallel axes (on which `index` does not depend) and the sum
    is stored. With `scatter`, `index` holds gathered terms, several points may meet, and their values are
    added to what the slot holds.
    """

    slot: int
    index: Index
    value: int
    accumulate: tuple[Axis, ...] = ()
    scatter: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """A buffer of the kernel: element type and number of elements. Its name is for readers only."""

    dtype: DType
    size: int
    name: str = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slot) and (self.dtype, self.size) == (other.dtype, other.size)

    def __hash__(self) -> int:
        return hash((self.dtype, self.size))


class KernelKind(Enum):
    """Which lowering a kernel takes. It is derived from the values, never a meaning of its own."""

    LOOP = "loop"
    REDUCTION = "reduction"
    CONTRACTION = "contraction"
    INDEXED = "indexed"
    ATTENTION = "attention"


class _Fact(Generic[T]):
    """What follows from a kernel, whatever its slots are called: found once for it and its copies by other names."""

    def __init__(self, find: Callable[[Kernel], T]) -> None:
        self._find = find
        self.__doc__ = find.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, kernel: None, owner: type) -> _Fact[T]: ...
    @overload
    def __get__(self, kernel: Kernel, owner: type) -> T: ...
    def __get__(self, kernel: Kernel | None, owner: type) -> Any:
        if kernel is None:
            return self
        facts = kernel._facts
        if self._name not in facts:
            facts[self._name] = self._find(kernel)
        kernel.__dict__[self._name] = facts[self._name]  # found here from now on
        return facts[self._name]


@dataclass(frozen=True)
class Kernel:
    """One fused loop nest.

    Parallel axes can run in any order, on any thread. Row axes are those that `Reduce` values run over;
    a value that varies over them is computed again in each pass over the row that needs it, or kept.
    Contracted axes are those that only a `Dot` runs over. Slots that are stored to come after those that are only
    loaded; a slot may be both (an update in place): then load and store indices are identical and the load's value
    is used in no later pass than the store.

    Reductions and products say themselves what they run over; the three groups of axes follow (`sorted_axes`) and
    give the axes an order. In most kernels each `Reduce` runs over the whole row, and the one `Dot` over all contracted
    axes. In a kernel of kind ATTENTION each runs over axes of its own: something is reduced that was made of products.
    """

    slots: tuple[Slot, ...]
    parallel: tuple[Axis, ...]
    row: tuple[Axis, ...]
    contracted: tuple[Axis, ...]
    values: tuple[Value, ...]
    stores: tuple[Store, ...]

    @cached_property
    def _facts(self) -> dict[str, Any]:
        """What was found out about it, or about a copy by other names."""
        return {}

    @_Fact
    def _hash(self) -> int:
        return hash((self.slots, self.parallel, self.row, self.contracted, self.values, self.stores))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Kernel):
            return NotImplemented
        if self._facts is other._facts:
            return True
        return self._hash == other._hash and all(
            getattr(self, name) == getattr(other, name) for name in field_names(self)
        )

    def named(self, names: Iterable[str]) -> Kernel:
        """The same kernel with other names of its slots."""
        slots = tuple([Slot(s.dtype, s.size, name) for s, name in zip(self.slots, names, strict=True)])
        other = Kernel(slots, self.parallel, self.row, self.contracted, self.values, self.stores)
        other.__dict__["_facts"] = self._facts
        return other

    @_Fact
    def kind(self) -> KernelKind:
        if any(s.scatter for s in self.stores):
            return KernelKind.INDEXED
        if any(isinstance(v, Dot) for v in self.values):
            return KernelKind.ATTENTION if self._reduces_products else KernelKind.CONTRACTION
        if any(isinstance(v, Reduce | Scan) for v in self.values) or any(s.accumulate for s in self.stores):
            return KernelKind.REDUCTION
        return KernelKind.LOOP

    @property
    def _reduces_products(self) -> bool:
        """Whether a product or a reduction is over what was made of a product."""
        made: list[bool] = []
        for value in self.values:
            of_products = any(made[i] for i in dependencies(value))
            if of_products and isinstance(value, Dot | Reduce):
                return True
            made.append(of_products or isinstance(value, Dot))
        return False

    @_Fact
    def axes(self) -> tuple[frozenset[Axis], ...]:
        """For each value, the axes it varies over."""
        result: list[frozenset[Axis]] = []
        for value in self.values:
            found = frozenset().union(*(i.axes for i in indices(value)), *(result[i] for i in inputs(value)))
            if isinstance(value, Reduce | Dot):
                found -= set(value.axes)
            elif isinstance(value, Scan):
                found |= set(value.axes)
            result.append(found)
        return tuple(result)

    @_Fact
    def levels(self) -> tuple[int, ...]:
        """For each value, how many reductions must have finished before it can be computed."""
        result: list[int] = []
        for value in self.values:
            below = max((result[i] for i in dependencies(value)), default=0)
            result.append(below + isinstance(value, Reduce | Dot))
        return tuple(result)

    @_Fact
    def in_order(self) -> bool:
        """Whether it goes along its row in order, since a value is what all points up to a place come to."""
        return any(isinstance(v, Scan) for v in self.values)

    @_Fact
    def dtypes(self) -> tuple[DType, ...]:
        return tuple(v.dtype for v in self.values)

    @_Fact
    def digest(self) -> str:
        """SHA-256 over all that the kernel means: its text with recipes spelled out, without names of slots."""
        recipes = [r for v in self.values for r in _recipes(v)]
        constants = [v.bits for v in self.values if isinstance(v, Const)]
        constants += [c.bits for v in self.values if isinstance(v, Reduce | Scan) for c in v.init]
        parts = [print_kernel(self, named=False), *map(str, dict.fromkeys(recipes)), str(constants)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @_Fact
    def written(self) -> frozenset[int]:
        """The slots that are stored to."""
        return frozenset(s.slot for s in self.stores)

    @_Fact
    def loaded(self) -> frozenset[int]:
        """The slots that are loaded from."""
        return frozenset(v.slot for v in self.values if isinstance(v, Load))

    @_Fact
    def gathers(self) -> bool:
        """Whether an index is a value that it loads or computes, so that a bad one may show when it runs."""
        found = [i for v in self.values for i in indices(v)] + [s.index for s in self.stores]
        return bool(gathered(found))

    def __str__(self) -> str:
        return print_kernel(self)


class Call(ABC):
    """A function on buffers that is no loop nest, as sorting is: a frozen dataclass that says all there is to know, so
    that equal calls are compiled once. Each backend has a way to carry out each kind of call, or refuses it."""

    @property
    @abstractmethod
    def slots(self) -> tuple[Slot, ...]:
        """Its buffers."""

    @property
    @abstractmethod
    def written(self) -> frozenset[int]:
        """The slots that it writes; the others it only reads. None is both."""

    @abstractmethod
    def run(self, memory: Sequence[np.ndarray]) -> None:
        """What it means: carried out on flat arrays, one for each slot."""

    @property
    def digest(self) -> str:
        """SHA-256 over all that it means."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


def inputs(value: Value) -> tuple[int, ...]:
    """The values it computes with."""
    return value.inputs if isinstance(value, Apply | Reduce | Scan | Dot) else ()


def indices(value: Value) -> tuple[Index, ...]:
    """The index expressions in it."""
    match value:
        case Load(index=index, bounds=bounds):
            return (index, *(b.index for b in bounds))
        case Inside(bounds=bounds):
            return tuple(b.index for b in bounds)
        case Position(index=index):
            return (index,)
    return ()


def sorted_axes(
    axes: Iterable[Axis], values: Iterable[Value]
) -> tuple[tuple[Axis, ...], tuple[Axis, ...], tuple[Axis, ...]]:
    """Axes as parallel, row and contracted ones, by what the values reduce, each group in the order given."""
    row = {a for v in values if isinstance(v, Reduce | Scan) for a in v.axes}
    contracted = {a for v in values if isinstance(v, Dot) for a in v.axes} - row
    ordered = tuple(axes)
    return (
        tuple(a for a in ordered if a not in row and a not in contracted),
        tuple(a for a in ordered if a in row),
        tuple(a for a in ordered if a in contracted),
    )


def gathered(indexes: Iterable[Index]) -> tuple[Gathered, ...]:
    return tuple(g for i in indexes for g in i.gathered())


def dependencies(value: Value) -> tuple[int, ...]:
    """All values that must be known first: inputs, and those that its indices gather by."""
    return (*inputs(value), *(g.value for g in gathered(indices(value))))


def _recipes(value: Value) -> tuple[Recipe, ...]:
    match value:
        case Apply(recipe=recipe):
            return (recipe,)
        case Reduce(combine=combine, finish=finish) | Scan(combine=combine, finish=finish):
            return combine, finish
    return ()


def print_value(value: Value, kernel: Kernel) -> str:
    def where(bounds: tuple[Bound, ...]) -> str:
        return f" where {' and '.join(map(str, bounds))}" if bounds else ""

    def names(numbers: Iterable[int]) -> str:
        return ", ".join(f"v{i}" for i in numbers)

    match value:
        case Load(slot=slot, index=index, bounds=bounds):
            return f"s{slot}[{index}]{where(bounds)}"
        case Const():
            return f"{value.value}"
        case Inside(bounds=bounds):
            return f"inside{where(bounds)}"
        case Position(index=index):
            return f"position {index}"
        case Apply(recipe=recipe):
            return f"{recipe.name}({names(value.inputs)})"
        case Reduce():
            return f"{value.finish.name}({names(value.inputs)}) over {', '.join(a.name for a in value.axes)}"
        case Scan():
            return f"{value.finish.name}({names(value.inputs)}) along {', '.join(a.name for a in value.axes)}"
        case Dot():
            return f"dot({names(value.inputs)}) over {', '.join(a.name for a in value.axes)}"


def print_kernel(kernel: Kernel, named: bool = True) -> str:
    """The kernel's stable text; `named`: with the slots' names, which mean nothing."""

    def axes(group: tuple[Axis, ...]) -> str:
        return ", ".join(f"{a.name}:{a.size}" for a in group)

    lines = [f"kernel {kernel.kind.value} parallel({axes(kernel.parallel)})"]
    if kernel.row:
        lines[0] += f" row({axes(kernel.row)})"
    if kernel.contracted:
        lines[0] += f" contracted({axes(kernel.contracted)})"
    for number, slot in enumerate(kernel.slots):
        name = f"  # {slot.name}" if slot.name and named else ""
        lines.append(f"  s{number}: {slot.dtype}[{slot.size}]{name}")
    for number, value in enumerate(kernel.values):
        lines.append(f"  v{number}@{kernel.levels[number]} = {print_value(value, kernel)} : {value.dtype}")
    for s in kernel.stores:
        sign = "+=" if s.scatter else "="
        over = f" summed over {', '.join(a.name for a in s.accumulate)}" if s.accumulate else ""
        lines.append(f"  s{s.slot}[{s.index}] {sign} v{s.value}{over}")
    return "\n".join(lines)
