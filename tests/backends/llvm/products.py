"""Contraction kernels for the tests: matrix products of all layouts, with epilogues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from graphc.index import Axis, Index, flatten
from graphc.kernel import Apply, Const, Dot, Kernel, Load, Slot, Store, Value
from graphc.scalar import ScalarFunction, record, to_bits
from graphc.types import DType, float32


@dataclass
class Product:
    """c[batch, i, j] = sum over k of a[batch, i, k] · b[batch, k, j], in slots 0, 1 and 2, and then more values.

    `transposed` says which of a and b lie the other way round in memory. b has the dtype `right` and the sums `sums`,
    if they are not those that follow from `dtype`.
    """

    m: int
    n: int
    k: int
    transposed: tuple[bool, bool] = (False, False)
    batch: int = 0
    dtype: DType = float32
    right: DType | None = None
    sums: DType | None = None
    slots: list[Slot] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)

    def __post_init__(self) -> None:
        m, n, k = self.m, self.n, self.k
        i, j, l, batch = (Axis(a, s) for a, s in (("i", m), ("j", n), ("k", k), ("b", self.batch)))
        self.axes = tuple(a for a in ((batch,) if self.batch else ()) + (i, j) if a.size != 1)
        self.contracted = l
        self.i, self.j, k_index = Index.of(i), Index.of(j), Index(((l, 1),))
        b = Index.of(batch) if self.batch else Index()
        a_place = (
            flatten((k_index, self.i), (k, m)) if self.transposed[0] else flatten((self.i, k_index), (m, k))
        )
        b_place = (
            flatten((self.j, k_index), (n, k)) if self.transposed[1] else flatten((k_index, self.j), (k, n))
        )
        self.place = b * (m * n) + flatten((self.i, self.j), (m, n))
        count = max(self.batch, 1)
        dtypes = self.dtype, self.right or self.dtype, self.sums or self.dtype
        self.slots = [Slot(d, size * count) for d, size in zip(dtypes, (m * k, k * n, m * n), strict=True)]
        self.load(0, b * (m * k) + a_place)
        self.load(1, b * (k * n) + b_place)
        self.dot = self.add(Dot((0, 1), (l,), self.sums or self.dtype.computes_as))

    def add(self, value: Value) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def slot(self, size: int, dtype: DType | None = None) -> int:
        self.slots.append(Slot(dtype or self.dtype, size))
        return len(self.slots) - 1

    def load(self, slot: int, index: Index) -> int:
        return self.add(Load(slot, index, (), self.slots[slot].dtype))

    def constant(self, value: float) -> int:
        return self.add(Const(to_bits(value, self.dtype.computes_as), self.dtype.computes_as))

    def apply(self, function: ScalarFunction, *inputs: int) -> int:
        dtypes = tuple(self.values[i].dtype for i in inputs)
        return self.add(Apply(record(function.__name__, function, dtypes), inputs))

    def store(self, slot: int, index: Index, value: int) -> None:
        self.stores.append(Store(slot, index, value))

    def kernel(self, result: int | None = None) -> Kernel:
        """The kernel; with `result`, or without any stores, that value or the product is stored to slot 2."""
        if result is not None or not self.stores:
            self.store(2, self.place, self.dot if result is None else result)
        return Kernel(
            tuple(self.slots), self.axes, (), (self.contracted,), tuple(self.values), tuple(self.stores)
        )


def biased_gelu(product: Product) -> Kernel:
    bias = product.load(product.slot(product.n), product.j)
    return product.kernel(product.apply(_gelu, product.apply(_add, product.dot, bias)))


def adam(product: Product) -> Kernel:
    """The product as a gradient: parameters in slot 2 and two moments behind it, all updated in place."""
    moments = [product.slot(product.slots[2].size) for _ in range(2)]
    old = [product.load(slot, product.place) for slot in (2, *moments)]
    first = product.apply(_first_moment, old[1], product.dot)
    second = product.apply(_second_moment, old[2], product.dot)
    product.store(2, product.place, product.apply(_update, old[0], first, second))
    for slot, value in zip(moments, (first, second), strict=True):
        product.store(slot, product.place, value)
    return product.kernel()


def random_arrays(kernel: Kernel, seed: int = 0) -> list[np.ndarray]:
    """Contents for every slot, small integers where the dtype is one, and all of 8-bit ones."""
    random = np.random.default_rng(seed)

    def content(slot: Slot) -> np.ndarray:
        if not slot.dtype.is_integer:
            return random.standard_normal(slot.size)
        most = 9 if slot.dtype.bits > 8 else 128
        return random.integers(-most, most, slot.size)

    return [content(s).astype(s.dtype.numpy) for s in kernel.slots]


def matrices(product: Product, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """a and b as NumPy would have them."""
    m, n, k, batch = product.m, product.n, product.k, max(product.batch, 1)
    a, b = arrays[0], arrays[1]
    a = a.reshape(batch, k, m).transpose(0, 2, 1) if product.transposed[0] else a.reshape(batch, m, k)
    b = b.reshape(batch, n, k).transpose(0, 2, 1) if product.transposed[1] else b.reshape(batch, k, n)
    return a, b


def _add(s, a, b):
    return a + b


def _gelu(s, x):
    return x * 0.5 * (s.erf(x * 0.7071067811865476) + 1.0)


def _first_moment(s, moment, gradient):
    return moment * 0.9 + gradient * 0.1


def _second_moment(s, moment, gradient):
    return s.abs(moment) * 0.999 + gradient * gradient * 0.001


def _update(s, parameter, first, second):
    return parameter - first * 0.01 / (s.sqrt(second) + 1e-3)
