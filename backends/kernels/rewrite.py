"""New kernels from the values of an old one.

In: a kernel, and index expressions that take the place of some of its axes. Out: another kernel, with those values
that its stores need. Slots keep their numbers; scratch memory comes behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.index import Axis, Index
from graphc.kernel import Accumulate, Apply, Const, Inside, Kernel, Load, Slot, Store, Value, sorted_axes
from graphc.scalar import Prim, Recipe
from graphc.types import bool_
from graphc.value import Mapper, dependencies


class Rewrite:
    """A kernel in the making. `numbers` maps old values to new ones; whoever wants an old value replaced enters it
    there before something that needs it is taken. `moved`: what takes the place of axes; `reduced`: the axes that
    reductions and products run over in place of an old one."""

    def __init__(
        self,
        kernel: Kernel,
        moved: Mapping[Axis, Index] | None = None,
        reduced: Mapping[Axis, tuple[Axis, ...]] | None = None,
    ) -> None:
        self.old = kernel
        self.values: list[Value] = []
        self.stores: list[Store] = []
        self.numbers: dict[int, int] = {}
        self._known: dict[Value, int] = {}
        self._mapper = Mapper(self.numbers, positions=moved, axes=reduced)

    def append(self, value: Value) -> int:
        """The number of a new value; equal values are the same."""
        if value not in self._known:
            self._known[value] = len(self.values)
            self.values.append(value)
        return self._known[value]

    def take(self, number: int) -> int:
        """The new number of an old value."""
        if number not in self.numbers:
            value = self.old.values[number]
            chosen = self._decided(value)
            if chosen is not None:
                self.numbers[number] = self.take(chosen)
            else:
                for needed in dependencies(value):
                    self.take(needed)
                self.numbers[number] = self.append(_settled(self._mapper.value(value)))
        return self.numbers[number]

    def _decided(self, value: Value) -> int | None:
        """The input that a selection chooses, where its mask is a constant."""
        if not isinstance(value, Apply) or not _is_selection(value.recipe):
            return None
        mask = self.values[self.take(value.inputs[0])]
        return value.inputs[1 if mask.value else 2] if isinstance(mask, Const) else None

    def store(self, slot: int, index: Index, value: int) -> None:
        """Store a new value."""
        self.stores.append(Store(slot, index, value))

    def keep(self, store: Store) -> None:
        """Take an old store over."""
        for needed in store.needs:
            self.take(needed)
        self.stores.append(self._mapper.store(store))

    def kernel(
        self, parallel: Sequence[Axis], reduced: Sequence[Axis] = (), scratch: Sequence[Slot] = ()
    ) -> Kernel:
        """The kernel over these axes. Of `reduced`, what values reduce is its row, or contracted; what stores are at
        is parallel; and what is neither is left out."""
        slots, values = (*self.old.slots, *scratch), tuple(self.values)
        used = {a for s in self.stores for a in s.index.axes}
        used |= {a for v in values if isinstance(v, Accumulate) for a in v.axes}
        used.update(*sorted_axes(reduced, values)[1:])
        axes = (*parallel, *[a for a in reduced if a in used])
        return Kernel(slots, *sorted_axes(axes, values), values, tuple(self.stores))


def _settled(value: Value) -> Value:
    """The value without bounds that always hold; a constant where that decides."""
    match value:
        case Load(slot, index, bounds, dtype) if bounds:
            left = tuple(b for b in bounds if not b.always)
            return Const(0, dtype) if any(b.never for b in left) else Load(slot, index, left, dtype)
        case Inside(bounds):
            left = tuple(b for b in bounds if not b.always)
            return Inside(left) if left and not any(b.never for b in left) else Const(int(not left), bool_)
    return value


def _is_selection(recipe: Recipe) -> bool:
    """Whether a recipe is one select of its parameters, in order."""
    return (
        len(recipe.steps) == 1 and recipe.steps[0].prim is Prim.SELECT and recipe.steps[0].inputs == (0, 1, 2)
    )
