"""Kernels that finish what another one left in parts: they read partial states and join them.

In: a kernel, and what its programs stored for some of its values. Out: a kernel with those values read and joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from graphc.dataclass import dataclass
from graphc.index import Axis, Index, axes_size, flatten
from graphc.kernel import Const, Kernel, Load, Reduce, Slot
from graphc.scalar import Recipe

from ..kernels.rewrite import Rewrite


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
    that come behind its own, one for each component of a state."""
    axes = (part, *kernel.parallel)
    place = flatten([Index.of(a) for a in axes], [a.size for a in axes])
    states = [Slot(init.dtype, axes_size(axes), f"{j.wanted}_parts") for j in joins for init in j.init]
    new, slots = Rewrite(kernel), count(len(kernel.slots))
    for join in joins:
        loads = tuple(new.append(Load(next(slots), place, (), init.dtype)) for init in join.init)
        new.numbers[join.number] = new.append(Reduce(join.combine, join.init, join.finish, loads, (part,)))
    for store in kernel.stores:
        new.keep(store)
    return new.kernel(kernel.parallel, (part,), states)
