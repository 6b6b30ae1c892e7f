"""New kernels from the values of an old one.

In: a kernel, and index expressions that take the place of some of its axes. Out: another kernel, with those values
that its stores need. Slots keep their numbers; scratch memory comes behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.dataclass import replace
from graphc.index import Axis, Bound, Index
from graphc.kernel import (
    Apply,
    Const,
    Inside,
    Kernel,
    Load,
    Position,
    Reduce,
    Scan,
    Slot,
    Store,
    Value,
    dependencies,
)
from graphc.scalar import Builder, Prim, Recipe, Scalar, record
from graphc.types import DType, bool_


class Rewrite:
    """A kernel in the making. `numbers` maps old values to new ones; whoever wants an old value replaced enters it
    there before something that needs it is taken."""

    def __init__(
        self, kernel: Kernel, row: Sequence[Axis], moved: Mapping[Axis, Index] | None = None
    ) -> None:
        self.old = kernel
        self.row = tuple(row)
        self.moved = moved or {}
        self.values: list[Value] = []
        self.stores: list[Store] = []
        self.numbers: dict[int, int] = {}
        self._known: dict[Value, int] = {}

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
                self.numbers[number] = self.append(self._moved(value))
        return self.numbers[number]

    def _decided(self, value: Value) -> int | None:
        """The input that a selection chooses, where its mask is a constant."""
        if not isinstance(value, Apply) or not _is_selection(value.recipe):
            return None
        mask = self.values[self.take(value.inputs[0])]
        return value.inputs[1 if mask.value else 2] if isinstance(mask, Const) else None

    def _moved(self, value: Value) -> Value:
        match value:
            case Load(index=index, bounds=bounds, dtype=dtype):
                bounds = self._bounds(bounds)
                if any(b.never for b in bounds):
                    return Const(0, dtype)
                return replace(
                    value, index=self.index(index), bounds=tuple(b for b in bounds if not b.always)
                )
            case Inside(bounds=bounds):
                bounds = self._bounds(bounds)
                if all(b.always for b in bounds) or any(b.never for b in bounds):
                    return Const(int(all(b.always for b in bounds)), bool_)
                return Inside(tuple(b for b in bounds if not b.always))
            case Position(index=index):
                return Position(self.index(index))
            case Apply(inputs=inputs):
                return replace(value, inputs=self._inputs(inputs))
            case Reduce(inputs=inputs) | Scan(inputs=inputs):
                return replace(value, inputs=self._inputs(inputs), axes=self.row)
        return value

    def index(self, index: Index) -> Index:
        """An index of the old kernel in terms of the new one's axes and values."""
        return index.substitute(self.moved).renumber(self.numbers)

    def _bounds(self, bounds: tuple[Bound, ...]) -> tuple[Bound, ...]:
        return tuple(Bound(self.index(b.index), b.low, b.high) for b in bounds)

    def _inputs(self, inputs: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self.numbers[i] for i in inputs)

    def store(self, slot: int, index: Index, value: int, accumulate: tuple[Axis, ...] = ()) -> None:
        """Store a new value."""
        self.stores.append(Store(slot, index, value, accumulate))

    def keep(self, store: Store) -> None:
        """Take an old store over."""
        value = self.take(store.value)
        for gathered in store.index.gathered():
            self.take(gathered.value)
        self.stores.append(replace(store, index=self.index(store.index), value=value))

    def kernel(self, parallel: Sequence[Axis], scratch: Sequence[Slot] = ()) -> Kernel:
        slots = (*self.old.slots, *scratch)
        return Kernel(slots, tuple(parallel), self.row, (), tuple(self.values), tuple(self.stores))


def _is_selection(recipe: Recipe) -> bool:
    """Whether a recipe is one select of its parameters, in order."""
    return (
        len(recipe.steps) == 1 and recipe.steps[0].prim is Prim.SELECT and recipe.steps[0].inputs == (0, 1, 2)
    )


def sum_of(value: int, dtype: DType, axes: tuple[Axis, ...]) -> Reduce:
    """The sum of a value over axes."""
    return Reduce(
        record("sum", _add, (dtype, dtype)),
        (Const(0, dtype),),
        record("sum", _same, (dtype,)),
        (value,),
        axes,
    )


def component(reduce: Reduce, number: int) -> Recipe:
    """A finish that gives one component of the state as it is."""
    dtypes = tuple(c.dtype for c in reduce.init)
    return record("state", _component, dtypes, {"number": number})


def product_of(a: int, b: int, dtypes: tuple[DType, DType], dtype: DType) -> Apply:
    """The product of two values in the precision of `dtype`."""
    return Apply(record("multiply", _product, dtypes, {"dtype": dtype}), (a, b))


def _add(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return a + b


def _same(s: Builder, a: Scalar) -> Scalar:
    return a


def _component(s: Builder, *state: Scalar, number: int) -> Scalar:
    return state[number]


def _product(s: Builder, a: Scalar, b: Scalar, dtype: DType) -> Scalar:
    return s.cast(a, dtype) * s.cast(b, dtype)
