"""Kernels: values over named axes. The one description that every backend lowers.

A kernel holds no loops, no nodes and no closures: it is data that can be printed, hashed, compared and tested.
Which passes over a row are needed follows from `level`; what is loop-invariant follows from `axes`.

    Kernel  axes (parallel, row, contracted), slots, values, stores
    Value   Load | Const | Inside | Position | Apply | Reduce | Scan | Dot | Accumulate  (`value.py`)
    Store   slot[index] = value, or += value
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, Generic, TypeVar, overload

import numpy as np

from .cached import cached_property
from .dataclass import dataclass, field_names
from .index import Axis, Index
from .types import DType
from .value import Accumulate as Accumulate
from .value import Apply as Apply
from .value import Const as Const
from .value import Dot as Dot
from .value import Inside as Inside
from .value import Load as Load
from .value import Position as Position
from .value import Reduce as Reduce
from .value import Scan as Scan
from .value import Store as Store
from .value import Value as Value
from .value import dependencies as dependencies
from .value import gathered

T = TypeVar("T")


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
        if any(isinstance(v, Reduce | Scan | Accumulate) for v in self.values):
            return KernelKind.REDUCTION
        return KernelKind.LOOP

    @property
    def _reduces_products(self) -> bool:
        """Whether a product or a reduction is over what was made of a product."""
        made: list[bool] = []
        for value in self.values:
            of_products = any(made[i] for i in dependencies(value))
            if of_products and value.finishes:
                return True
            made.append(of_products or isinstance(value, Dot))
        return False

    @_Fact
    def axes(self) -> tuple[frozenset[Axis], ...]:
        """For each value, the axes it varies over."""
        result: list[frozenset[Axis]] = []
        for value in self.values:
            inner = frozenset().union(*[i.axes for i in value.indices], *[result[i] for i in value.inputs])
            result.append(value.varies(inner))
        return tuple(result)

    @_Fact
    def levels(self) -> tuple[int, ...]:
        """For each value, how many reductions must have finished before it can be computed."""
        result: list[int] = []
        for value in self.values:
            below = max((result[i] for i in dependencies(value)), default=0)
            result.append(below + value.finishes)
        return tuple(result)

    @_Fact
    def in_order(self) -> bool:
        """Whether it goes along its row in order, since a value is what all points up to a place come to."""
        return any(isinstance(v, Scan) for v in self.values)

    @_Fact
    def accumulates(self) -> bool:
        """Whether something is reduced over parallel axes."""
        return any(isinstance(v, Accumulate) for v in self.values)

    def accumulated(self, store: Store) -> tuple[Axis, ...]:
        """The parallel axes that what is stored is reduced over; none for most stores."""
        value = self.values[store.value]
        return value.axes if isinstance(value, Accumulate) else ()

    def stored(self, stores: Iterable[Store]) -> list[int]:
        """The values that each point must know to carry out stores: what it stores or accumulates, and what it gathers
        the places by."""
        found: list[int] = []
        for store in stores:
            value, (_, *places) = self.values[store.value], store.needs
            found += [*(value.inputs if isinstance(value, Accumulate) else (store.value,)), *places]
        return found

    @_Fact
    def dtypes(self) -> tuple[DType, ...]:
        return tuple(v.dtype for v in self.values)

    @_Fact
    def digest(self) -> str:
        """SHA-256 over all that the kernel means: its text with recipes spelled out, without names of slots."""
        recipes = [r for v in self.values for r in v.recipes]
        constants = [c.bits for v in self.values for c in v.constants]
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
        return bool(gathered(self.indices))

    @property
    def indices(self) -> list[Index]:
        """All index expressions in it."""
        return [i for v in self.values for i in v.indices] + [s.index for s in self.stores]

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
        lines.append(f"  v{number}@{kernel.levels[number]} = {value} : {value.dtype}")
    lines += [f"  {store}" for store in kernel.stores]
    return "\n".join(lines)
