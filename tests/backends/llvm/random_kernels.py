"""Random well-formed kernels: odd sizes, several dtypes, strides, flips, bounds, divisions, gathers, reductions of
several levels, accumulating and scattering stores. What follows from a comparison is kept apart from what rounds."""

from __future__ import annotations

import math

import numpy as np

from graphc.backends.kernels.rewrite import Rewrite
from graphc.dataclass import replace
from graphc.index import Axis, Bound, Gathered, Index, flatten
from graphc.kernel import Accumulate, Apply, Const, Inside, Kernel, Load, Position, Reduce, Slot, Store
from graphc.passes.in_place import can_update_in_place, share_slot
from graphc.scalar import Recipe, record, to_bits
from graphc.types import (
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint32,
)

DTYPES = (
    float32,
    float32,
    float32,
    float64,
    int32,
    int64,
    uint8,
    int8,
    int16,
    uint32,
    bool_,
    bfloat16,
    float16,
)
POINTS = 5000


def recipe(name: str, function, *dtypes: DType, **attrs) -> Recipe:
    return record(name, function, dtypes, attrs)


def _cast(s, a, dtype):
    return s.cast(a, dtype)


def _weighted(s, a, b):
    return a * 0.5 + b if a.dtype.is_float else a * 3 + b


def _maximum(s, a, b):
    return s.max(a, b)


def _where_less(s, a, b):
    return s.select(a < b, a, b - a)


def _either(s, a, b):
    return a | b


def _same(s, *state):
    return state[0]


def _add(s, a, b):
    return a + b


def _both(s, a, b):
    return a & b


def _later_first(s, a, i, b, j):
    """Argmax: the greater value, NaN above all, of equals the one that comes first."""
    other = (b > a) | (s.eq(a, b) & (j < i))
    if a.dtype.is_float:
        other = s.select(s.is_nan(a), s.is_nan(b) & (j < i), other | s.is_nan(b))
    return s.select(other, b, a), s.select(other, j, i)


def _wider(s, a, b, c, d):
    return s.max(a, c), s.min(b, d)


def _width(s, a, b):
    return a - b


def _second(s, a, i):
    return i


def without_unused(kernel: Kernel) -> Kernel:
    """The kernel without values that no store needs, whose bad indices nobody would see."""
    new = Rewrite(kernel)
    for store in kernel.stores:
        new.keep(store)
    return new.kernel(kernel.parallel, kernel.row)


def with_update(kernel: Kernel, rng: np.random.Generator) -> Kernel:
    """The kernel with a store that updates its slot in place, if there can be one: a result is made to depend on what
    the slot held, and both share memory where the schedule would let them."""
    plain = [s for s in kernel.stores if not kernel.accumulated(s) and not s.scatter]
    pairs = [(s, t) for s in plain for t in kernel.stores if s.index.axes <= t.index.axes and not t.scatter]
    for pair in rng.permutation(len(pairs)):
        store, changed = pairs[pair]
        slot = kernel.slots[store.slot]
        held = kernel.values[changed.value]
        number = held.inputs[0] if isinstance(held, Accumulate) else changed.value
        dtype = kernel.dtypes[number]
        alike = slot.dtype.is_float == dtype.is_float and dtype.computes_as is dtype
        if slot.dtype.is_bool or dtype.is_bool or not alike:
            continue
        count, old = len(kernel.values), len(kernel.slots)
        values = [*kernel.values, Load(old, store.index, (), slot.dtype)]
        if slot.dtype is not dtype:
            values.append(Apply(recipe("cast", _cast, slot.dtype, dtype=dtype), (count,)))
        values.append(Apply(recipe("weighted", _weighted, dtype, dtype), (len(values) - 1, number)))
        if isinstance(held, Accumulate):
            values.append(replace(held, inputs=(len(values) - 1, *held.inputs[1:])))
        stores = tuple(
            replace(s, value=len(values) - 1) if s is changed else s for s in kernel.stores
        )
        made = replace(kernel, slots=(*kernel.slots, slot), values=tuple(values), stores=stores)
        if can_update_in_place(made, old, store.slot):
            return share_slot(made, old, store.slot)[0]
    return kernel


class RandomKernel:
    """One kernel, and arrays to run it on. `updates`: with a slot that is updated in place, if there can be one."""

    def __init__(self, seed: int, updates: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.slots: list[Slot] = []
        self.written: list[Slot] = []
        self.values: list = []
        self.axes_of: list[frozenset[Axis]] = []
        self.exact: list[bool] = []  # no rounding went into it, so that comparisons come out alike
        self.parallel = self._axes("i", self.rng.integers(0, 4))
        self.row = self._axes("r", self.rng.choice([0, 0, 1, 1, 2]))
        self.stores: list[Store] = []
        kernel = self._build()
        self.kernel = with_update(kernel, self.rng) if updates else kernel

    def _axes(self, name: str, count: int | np.integer) -> tuple[Axis, ...]:
        sizes = [int(self.rng.choice([1, 2, 3, 5, 7, 8, 9, 16, 17, 31, 33, 40, 67])) for _ in range(count)]
        while math.prod(sizes) > (POINTS if name == "i" else 200):
            sizes[int(np.argmax(sizes))] //= 2
        return tuple(Axis(f"{name}{k}", max(1, n)) for k, n in enumerate(sizes))

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def pick(self, items):
        return items[int(self.rng.integers(len(items)))]

    def _append(self, value, axes: frozenset[Axis], exact: bool) -> int:
        self.values.append(value)
        self.axes_of.append(axes)
        self.exact.append(exact)
        return len(self.values) - 1

    # ---- loads -----------------------------------------------------------------------------------------------

    def _load(self, axes: tuple[Axis, ...], dtype: DType | None = None, plain: bool = False) -> int:
        dtype = dtype or self.pick(DTYPES)
        used = [a for a in axes if self.chance(0.8)]
        if self.chance(0.3):
            self.rng.shuffle(used)
        parts, sizes, bounds, gathered = [], [], [], frozenset[Axis]()
        for axis in used:
            index, size = Index.of(axis), axis.size
            kind = (
                "plain" if plain else self.pick(["plain"] * 6 + ["flip", "step", "bound", "divide", "gather"])
            )
            if kind == "flip":
                index = index * -1 + (size - 1)
            elif kind == "step":
                step = int(self.rng.integers(2, 4))
                index, size = index * step + 1, size * step + 1
            elif kind == "bound":
                low = int(self.rng.integers(-2, 3))
                size = max(1, size - int(self.rng.integers(0, 3)))
                index = index + low
                bounds.append(Bound(index, 0, size))
            elif kind == "divide":
                k = int(self.rng.integers(2, 5))
                shift = int(self.rng.integers(0, 3))
                index, size = (
                    ((index + shift) // k, (size + shift) // k + 1) if self.chance(0.5) else (index % k, k)
                )
            elif kind == "gather":
                size = int(self.rng.integers(1, 9))
                number = self._load((axis,), self.pick([int64, int32, uint8]), plain=True)
                gathered |= self.axes_of[number]
                index = Index(((Gathered(number, size, self.axes_of[number]), 1),))
            parts.append(index)
            sizes.append(size)
        if self.chance(0.1) and axes:
            axis = self.pick(axes)
            bounds.append(Bound(Index.of(axis), 1, max(1, axis.size - 1)))
        index = flatten(parts, sizes) if parts else Index()
        size = math.prod(sizes) + int(self.rng.integers(0, 3))
        slot = self._slot(Slot(dtype, size))
        return self._append(
            Load(slot, index, tuple(bounds), dtype),
            index.axes.union(*(b.index.axes for b in bounds)) if bounds else index.axes,
            True,
        )

    def _slot(self, slot: Slot) -> int:
        self.slots.append(slot)
        return len(self.slots) - 1

    # ---- values ----------------------------------------------------------------------------------------------

    def dtype(self, number: int) -> DType:
        return self.values[number].dtype

    def _apply(self, recipe_: Recipe, *inputs: int, exact: bool) -> int:
        axes = frozenset().union(*(self.axes_of[i] for i in inputs))
        return self._append(Apply(recipe_, inputs), axes, exact)

    def _cast(self, number: int, dtype: DType) -> int:
        source = self.dtype(number)
        if source is dtype:
            return number
        if source.is_float and not dtype.is_float and not self.exact[number]:
            return self._cast(self._load((), dtype, plain=True), dtype)
        return self._apply(recipe("cast", _cast, source, dtype=dtype), number, exact=self.exact[number])

    def _combine(self, a: int, b: int) -> int:
        if self.dtype(a).is_bool:
            return self._apply(recipe("either", _either, bool_, bool_), a, self._cast(b, bool_), exact=True)
        dtype = self.dtype(a).computes_as
        a, b = self._cast(a, dtype), self._cast(b, dtype)
        exact = (self.exact[a] and self.exact[b]) or not dtype.is_float
        function = self.pick([_weighted, _maximum, _where_less] if exact else [_weighted, _maximum])
        rounds = dtype.is_float and function is _weighted
        return self._apply(
            recipe(function.__name__, function, dtype, dtype), a, b, exact=exact and not rounds
        )

    def _reduce(self, number: int, over: tuple[Axis, ...] = ()) -> int:
        """A reduction over the row; or an accumulated one, over parallel axes."""
        make, over = (Accumulate, over) if over else (Reduce, self.row)
        dtype = self.dtype(number).computes_as
        number = self._cast(number, dtype)
        axes = self.axes_of[number] - set(over)
        if dtype.is_bool:
            both = self.chance(0.5)
            combine = recipe("both" if both else "either", _both if both else _either, bool_, bool_)
            reduce = make(combine, (Const(int(both), bool_),), recipe("any", _same, bool_), (number,), over)
            return self._append(reduce, axes, True)
        kind = self.pick(["sum", "max", "argmax", "range"] if self.exact[number] else ["sum", "max", "range"])
        low = Const(to_bits(dtype.min, dtype), dtype)
        if kind == "argmax":
            at = self._append(
                Position(flatten(list(map(Index.of, over)), [a.size for a in over])),
                frozenset(a for a in over if a.size > 1),
                True,
            )
            init = (low, Const((1 << 63) - 1, int64))
            combine = recipe("later", _later_first, dtype, int64, dtype, int64)
            finish = recipe("argmax", _second, dtype, int64)
            return self._append(make(combine, init, finish, (number, at), over), axes, True)
        if kind == "range":
            init = (low, Const(to_bits(dtype.max, dtype), dtype))
            combine = recipe("range.combine", _wider, *[dtype] * 4)
            reduce = make(combine, init, recipe("range", _width, dtype, dtype), (number, number), over)
            return self._append(reduce, axes, not dtype.is_float)
        if kind == "max":
            reduce = make(
                recipe("max", _maximum, dtype, dtype), (low,), recipe("max", _same, dtype), (number,), over
            )
        else:
            zero = Const(0, dtype)
            reduce = make(recipe("sum", _add, dtype, dtype), (zero,), recipe("sum", _same, dtype), (number,), over)
        return self._append(reduce, axes, not dtype.is_float or (kind == "max" and self.exact[number]))

    # ---- the kernel ------------------------------------------------------------------------------------------

    def _build(self) -> Kernel:
        everywhere = (*self.parallel, *self.row)
        inside = [self._load(everywhere) for _ in range(int(self.rng.integers(1, 4)))]
        outside: list[int] = []
        if self.chance(0.3) and everywhere:
            axis = self.pick(everywhere)
            inside.append(self._append(Position(Index.of(axis) * 3 + 1), Index.of(axis).axes, True))
            bound = Bound(Index.of(axis), 1, max(2, axis.size - 1))
            inside.append(self._append(Inside((bound,)), bound.index.axes, True))
        for _ in range(int(self.rng.integers(1, 4))):
            inside.append(self._combine(self.pick(inside), self.pick(inside)))
            if self.row and self.chance(0.7):
                outside.append(self._reduce(self.pick(inside)))
                inside.append(self._combine(outside[-1], self.pick(inside)))
        if not outside:  # nothing makes the row a row
            self.parallel, self.row = everywhere, ()
        if self.chance(0.2) and self.parallel and not self.row:
            self._scatter()
        else:
            for number in sorted({inside[-1], self.pick(inside)}):
                self._store(number, everywhere)
            for number in sorted({outside[-1], self.pick(outside)}) if outside else ():
                self._store(number, self.parallel)
            if self.chance(0.4) and self.parallel:
                self._accumulate(self.pick(inside))
        self.slots += self.written
        kernel = Kernel(
            tuple(self.slots), self.parallel, self.row, (), tuple(self.values), tuple(self.stores)
        )
        return without_unused(kernel)

    def _output(self, dtype: DType, axes: tuple[Axis, ...]) -> tuple[int, Index]:
        """A slot behind all that are loaded (numbers are filled in when those are known), and an index into it."""
        order = list(axes)
        if self.chance(0.3):
            self.rng.shuffle(order)
        index = flatten(list(map(Index.of, order)), [a.size for a in order]) if order else Index()
        self.written.append(Slot(dtype, math.prod(a.size for a in order) + 1))
        return len(self.slots) + len(self.written) - 1, index

    def _store(self, number: int, axes: tuple[Axis, ...]) -> None:
        computed = self.dtype(number)
        narrower = {float32: [float32, bfloat16, float16], int32: [int32, int16]}.get(computed, [computed])
        slot, index = self._output(self.pick(narrower), axes)
        self.stores.append(Store(slot, index, number))

    def _accumulate(self, number: int) -> None:
        over = tuple(a for a in self.parallel if self.chance(0.6))
        if over:
            rest = tuple(a for a in (*self.parallel, *self.row) if a not in over)
            held = self._reduce(number, over)
            slot, index = self._output(self.dtype(held), rest)
            self.stores.append(Store(slot, index, held))

    def _scatter(self) -> None:
        over = tuple(a for a in self.parallel if self.chance(0.6)) or self.parallel[:1]
        rest = tuple(a for a in self.parallel if a not in over)
        where = self._load(over, int64, plain=True)
        number = self._cast(self._load(self.parallel), self.pick([float32, int32]))
        size = int(self.rng.integers(1, 9))
        target = Index(((Gathered(where, size, self.axes_of[where]), 1),))
        index = flatten([target, *map(Index.of, rest)], [size, *(a.size for a in rest)])
        self.written.append(Slot(self.dtype(number), size * math.prod(a.size for a in rest)))
        self.stores.append(Store(len(self.slots), index, number, True))

    def arrays(self) -> list[np.ndarray]:
        """Contents for all slots. Small numbers, so that integers that gather are mostly, not always, inside."""
        result = []
        for slot in self.kernel.slots:
            if slot.dtype.is_float:
                array: np.ndarray = self.rng.standard_normal(slot.size)
                if self.chance(0.1):
                    array[self.rng.random(slot.size) < 0.05] = np.nan
            else:
                array = self.rng.integers(0, 2 if self.chance(0.9) else 7, slot.size)
            result.append(array.astype(slot.dtype.numpy))
        return result
