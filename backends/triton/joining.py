"""Kernels that finish what another one left in parts: they read partial states and join them.

In: a kernel, and what its programs stored for some of its values. Out: a kernel with those values read and joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from graphc.dataclass import dataclass, replace
from graphc.index import Axis, Index, axes_size, flatten
from graphc.kernel import (
    Apply,
    Const,
    Inside,
    Kernel,
    Load,
    Position,
    Reduce,
    Slot,
    Value,
    dependencies,
    gathered,
)
from graphc.scalar import Builder, Recipe, Scalar, record
from graphc.types import DType


def _add(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return a + b


def _same(s: Builder, a: Scalar) -> Scalar:
    return a


def sum_of(number: int, dtype: DType, axes: tuple[Axis, ...]) -> Reduce:
    """The sum of a value over axes."""
    combine, finish = record("sum", _add, (dtype, dtype)), record("sum", _same, (dtype,))
    return Reduce(combine, (Const(0, dtype),), finish, (number,), axes)


@dataclass(frozen=True)
class Join:
    """Value `number` of a kernel, of which each part has a state: what it is called, how states are joined."""

    number: int
    wanted: str
    states: tuple[str, ...]
    init: tuple[Const, ...]
    combine: Recipe
    finish: Recipe


def joining_kernel(kernel: Kernel, joins: Sequence[Join], part: Axis) -> Kernel:
    """The kernel without its row and contracted axes: values that were reduced are joined over `part` from slots
    that come before its own, one for each component of a state."""
    axes = (part, *kernel.parallel)
    place = flatten([Index.of(a) for a in axes], [a.size for a in axes])
    slots = [Slot(init.dtype, axes_size(axes), f"{j.wanted}_parts") for j in joins for init in j.init]
    values: list[Value] = []
    numbers: dict[int, int] = {}
    slot_numbers = count()
    for join in joins:
        inputs = range(len(values), len(values) + len(join.init))
        values += [Load(next(slot_numbers), place, (), init.dtype) for init in join.init]
        numbers[join.number] = len(values)
        values.append(Reduce(join.combine, join.init, join.finish, tuple(inputs), (part,)))
    for number in _needed(kernel, frozenset(numbers)):
        numbers[number] = len(values)
        values.append(_moved(kernel.values[number], numbers, len(slots)))
    stores = tuple(
        replace(s, slot=s.slot + len(slots), value=numbers[s.value], index=s.index.renumber(numbers))
        for s in kernel.stores
    )
    return Kernel((*slots, *kernel.slots), kernel.parallel, (part,), (), tuple(values), stores)


def _needed(kernel: Kernel, known: frozenset[int]) -> list[int]:
    """The values that the stores need beyond the known ones, in order."""
    found: set[int] = set()
    pending = [s.value for s in kernel.stores]
    pending += [g.value for g in gathered(s.index for s in kernel.stores)]
    while pending:
        number = pending.pop()
        if number not in found and number not in known:
            found.add(number)
            pending.extend(dependencies(kernel.values[number]))
    return sorted(found)


def _moved(value: Value, numbers: dict[int, int], slots: int) -> Value:
    """The value with values renumbered, and slots that many further on."""
    match value:
        case Apply():
            return replace(value, inputs=tuple(numbers[i] for i in value.inputs))
        case Load(index=index, bounds=bounds):
            moved = tuple(replace(b, index=b.index.renumber(numbers)) for b in bounds)
            return replace(value, slot=value.slot + slots, index=index.renumber(numbers), bounds=moved)
        case Inside(bounds=bounds):
            return Inside(tuple(replace(b, index=b.index.renumber(numbers)) for b in bounds))
        case Position(index=index):
            return Position(index.renumber(numbers))
    return value
