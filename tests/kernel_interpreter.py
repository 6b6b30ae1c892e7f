"""What a `Kernel` means, point by point, in NumPy: the oracle for fusion and for every backend's lowering.

In: a kernel and one flat array per slot. Out: the stored-to arrays, changed. Each value is an array over all
axes of the kernel, of size 1 along those it does not vary over. Nothing is fast here and nothing is clever.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from graphc.index import Axis, Bound, Floor, Gathered, Index, Mod
from graphc.kernel import Accumulate, Apply, Const, Dot, Inside, Kernel, Load, Position, Reduce, Scan, Store
from graphc.scalar import Number, Prim, Recipe, Step
from graphc.types import DType


def run_kernel(kernel: Kernel, arrays: Sequence[np.ndarray]) -> bool:
    """Run the kernel on flat arrays, one per slot, of the slot's dtype and size.

    Returns whether every gathered index was inside its axis; a bad one counts as 0.
    """
    for slot, array in zip(kernel.slots, arrays, strict=True):
        assert array.shape == (slot.size,) and array.dtype == slot.dtype.numpy, (
            f"{array.dtype}{array.shape} for {slot}"
        )
    with np.errstate(all="ignore"):
        run = _Run(kernel, arrays)
        for value in kernel.values:
            run.values.append(run.value(value))
        for store in kernel.stores:
            run.store(store)
    return run.inside


@dataclass
class _Run:
    kernel: Kernel
    arrays: Sequence[np.ndarray]
    values: list[np.ndarray] = field(default_factory=list)
    inside: bool = True

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (*self.kernel.parallel, *self.kernel.row, *self.kernel.contracted)

    def shape(self, axes: frozenset[Axis]) -> tuple[int, ...]:
        """The full size along `axes`, 1 along the others."""
        return tuple(a.size if a in axes else 1 for a in self.axes)

    def positions(self, axis: Axis) -> np.ndarray:
        return np.arange(axis.size).reshape(self.shape(frozenset((axis,))))

    def index(self, index: Index, where: np.ndarray | bool = True) -> np.ndarray:
        """The value of an index expression; gathered terms are checked where `where` holds."""
        total = np.full((1,) * len(self.axes), index.constant, np.int64)
        for term, coefficient in index.terms:
            match term:
                case Axis():
                    part = self.positions(term)
                case Floor(index=inner, divisor=k):
                    part = self.index(inner, where) // k
                case Mod(index=inner, divisor=k):
                    part = self.index(inner, where) % k
                case Gathered(value=number, size=size):
                    part = self.values[number]
                    bad = ~((part >= 0) & (part < size))
                    self.inside &= not bool(np.any(bad & where))
                    part = np.where(bad, 0, part).astype(np.int64)
            total = total + part * coefficient
        return total

    def holds(self, bounds: Sequence[Bound]) -> np.ndarray:
        result = np.full((1,) * len(self.axes), True)
        for b in bounds:
            position = self.index(b.index)
            result = result & (b.low <= position) & (position < b.high)
        return result

    def value(self, value: object) -> np.ndarray:
        match value:
            case Load(slot=slot, index=index, bounds=bounds):
                where = self.holds(bounds)
                at = self.index(index, where)
                where, at = np.broadcast_arrays(where, at)
                result = np.zeros(at.shape, value.dtype.numpy)
                result[where] = self.arrays[slot][at[where]]
                return result
            case Const():
                return np.full((1,) * len(self.axes), as_numpy(value.value, value.dtype))
            case Inside(bounds=bounds):
                return self.holds(bounds)
            case Position(index=index):
                return self.index(index)
            case Apply(recipe=recipe, inputs=inputs):
                known = [self.values[i] for i in inputs]
                result = run_recipe(recipe, known)[0]   # of shape () where the recipe ignores its inputs
                return np.broadcast_to(result, np.broadcast_shapes((1,) * len(self.axes), *(k.shape for k in known)))
            case Reduce() | Accumulate():
                return self.reduce(value)
            case Scan():
                return self.scan(value)
            case Dot(inputs=(a, b), axes=axes, dtype=dtype):
                wide = np.float64 if dtype.is_float else dtype.numpy
                product = self.values[a].astype(wide) * self.values[b].astype(wide)
                product = np.broadcast_to(product, self.with_axes(product.shape, axes))
                over = tuple(self.axes.index(x) for x in axes)
                return product.sum(over, dtype=wide, keepdims=True).astype(dtype.numpy)
        raise AssertionError(value)

    def with_axes(self, shape: tuple[int, ...], axes: Sequence[Axis]) -> tuple[int, ...]:
        """`shape` with the full size along `axes`."""
        return tuple(a.size if a in axes else n for a, n in zip(self.axes, shape, strict=True))

    def reduce(self, value: Reduce | Accumulate) -> np.ndarray:
        """Combine halves until one state is left; `init` joins once."""
        states = [self.values[i] for i in value.inputs]
        full = self.with_axes(np.broadcast_shapes(*(s.shape for s in states)), value.axes)
        over = tuple(self.axes.index(a) for a in value.axes)
        kept = tuple(1 if i in over else n for i, n in enumerate(full))
        rows = [np.moveaxis(np.broadcast_to(s, full), over, range(len(over))) for s in states]
        state = [r.reshape(math.prod(a.size for a in value.axes), *r.shape[len(over) :]) for r in rows]
        while len(state[0]) > 1:
            half = len(state[0]) // 2
            odd = [s[2 * half :] for s in state]
            both = run_recipe(value.combine, [s[:half] for s in state] + [s[half : 2 * half] for s in state])
            state = [np.concatenate([b, o]) for b, o in zip(both, odd, strict=True)]
        init = [
            np.full(s.shape[1:], as_numpy(c.value, c.dtype)) for s, c in zip(state, value.init, strict=True)
        ]
        final = run_recipe(value.combine, init + [s[0] for s in state]) if len(state[0]) else init
        return run_recipe(value.finish, final)[0].reshape(kept)

    def scan(self, value: Scan) -> np.ndarray:
        """One point after the other."""
        assert value.axes == self.kernel.row
        states = [self.values[i] for i in value.inputs]
        full = self.with_axes(np.broadcast_shapes(*(s.shape for s in states)), value.axes)
        over = tuple(self.axes.index(a) for a in value.axes)
        rows = [np.moveaxis(np.broadcast_to(s, full), over, range(len(over))) for s in states]
        moved = rows[0].shape
        lines = [r.reshape(math.prod(moved[: len(over)]), *moved[len(over) :]) for r in rows]
        state = [np.full(lines[0].shape[1:], as_numpy(c.value, c.dtype)) for c in value.init]
        result = np.empty(lines[0].shape, value.dtype.numpy)
        for place in range(len(result)):
            state = list(run_recipe(value.combine, [*state, *(line[place] for line in lines)]))
            result[place] = run_recipe(value.finish, state)[0]
        return np.moveaxis(result.reshape(moved), range(len(over)), over)

    def store(self, store: Store) -> None:
        slot, array = self.kernel.slots[store.slot], self.arrays[store.slot]
        value = self.values[store.value]
        at, value = np.broadcast_arrays(self.index(store.index), convert(value, slot.dtype))
        # A value that does not vary over an axis is stored at each of its points.
        if store.scatter:
            full = np.broadcast_shapes(at.shape, self.shape(frozenset(self.kernel.parallel)))
            np.add.at(array, np.broadcast_to(at, full), np.broadcast_to(value, full))
        else:
            array[at] = value


def as_numpy(value: Number, dtype: DType) -> np.ndarray:
    return np.array(value).astype(dtype.numpy)


def convert(x: np.ndarray, dtype: DType) -> np.ndarray:
    """A value conversion: float → integer truncates, saturates, and takes NaN to 0; to bool is x ≠ 0."""
    if dtype.is_bool:
        return x != 0
    if not dtype.is_integer or not (np.issubdtype(x.dtype, np.floating) or x.dtype.kind == "V"):
        return x.astype(dtype.numpy)
    wide = np.trunc(x.astype(np.float64))
    inside = (wide >= float(dtype.min)) & (wide < float(dtype.max) + 1)  # max + 1 is a power of two: exact
    result = np.where(inside, wide, 0).astype(dtype.numpy)
    result = np.where(wide >= float(dtype.max) + 1, as_numpy(dtype.max, dtype), result)
    return np.where(wide < float(dtype.min), as_numpy(dtype.min, dtype), result)


def run_recipe(recipe: Recipe, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """A recipe on arrays."""
    with np.errstate(all="ignore"):
        return recipe.run(run_step, list(inputs))


def _fused_multiply_add() -> np.ufunc:
    """float64 a·b + c, rounded once: C's."""
    function = ctypes.CDLL(ctypes.util.find_library("m")).fma
    function.argtypes, function.restype = [ctypes.c_double] * 3, ctypes.c_double
    return np.frompyfunc(function, 3, 1)


_fma = _fused_multiply_add()

_SIMPLE: dict[Prim, Callable[..., np.ndarray]] = {
    Prim.ADD: np.add, Prim.SUB: np.subtract, Prim.MUL: np.multiply, Prim.DIV: np.divide, Prim.NEG: np.negative,
    Prim.ABS: np.abs, Prim.MAX: np.maximum, Prim.MIN: np.minimum, Prim.FLOOR: np.floor, Prim.CEIL: np.ceil,
    Prim.TRUNC: np.trunc, Prim.ROUND: np.rint, Prim.SQRT: np.sqrt, Prim.EXP: np.exp, Prim.EXP2: np.exp2,
    Prim.LOG: np.log, Prim.LOG2: np.log2, Prim.SIN: np.sin, Prim.COS: np.cos, Prim.EQ: np.equal,
    Prim.NE: np.not_equal, Prim.LT: np.less, Prim.LE: np.less_equal, Prim.AND: np.bitwise_and,
    Prim.OR: np.bitwise_or, Prim.XOR: np.bitwise_xor, Prim.NOT: np.invert, Prim.SELECT: np.where,
}  # fmt: skip


def run_step(step: Step, x: tuple[np.ndarray, ...]) -> np.ndarray:
    """One primitive on arrays."""
    if step.prim in _SIMPLE:
        return _SIMPLE[step.prim](*x)
    match step.prim:
        case Prim.CONST:
            return as_numpy(step.value, step.dtype)
        case Prim.QUOT:
            down = x[0] // x[1]
            return down + ((x[0] % x[1] != 0) & ((x[0] < 0) != (x[1] < 0))).astype(down.dtype)
        case Prim.FMA if step.dtype.bits == 32:  # the product is exact in float64
            return (x[0].astype(np.float64) * x[1] + x[2]).astype(np.float32)
        case Prim.FMA if step.dtype.is_float:
            return np.asarray(_fma(*x)).astype(np.float64)
        case Prim.FMA:
            return x[0] * x[1] + x[2]
        case Prim.ERF:
            return np.vectorize(math.erf, otypes=[np.float64])(x[0]).astype(step.dtype.numpy)
        case Prim.SHL | Prim.SHR:
            return _shift(step, *x)
        case Prim.UMULHI:
            product = x[0].astype(object) * x[1].astype(object)
            return np.asarray(product >> step.dtype.bits).astype(step.dtype.numpy)
        case Prim.CAST:
            return convert(x[0], step.dtype)
        case Prim.BITCAST:
            return np.ascontiguousarray(x[0]).view(step.dtype.numpy).reshape(np.shape(x[0]))
    raise AssertionError(step)


def _shift(step: Step, x: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Amounts are unsigned; from the width on, nothing of x is left but its sign in an arithmetic shift."""
    unsigned = amount.astype(f"u{step.dtype.itemsize}")
    small = unsigned < step.dtype.bits
    last = step.dtype.bits - 1
    if step.prim is Prim.SHR:
        shifted = x >> np.where(small, unsigned, last).astype(x.dtype)
        return shifted if step.dtype.is_signed else np.where(small, shifted, 0).astype(x.dtype)
    return np.where(small, x << np.where(small, unsigned, 0).astype(x.dtype), 0).astype(x.dtype)
