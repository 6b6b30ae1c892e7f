"""Sums, and kernels in which they are said otherwise.

In: a kernel. Out: one that does the same: products as sums, a sum over the row as one over parallel axes or the other
way round, and what is left of sums over nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from graphc.index import Axis
from graphc.kernel import Apply, Const, Dot, Kernel, Load, Reduce, dependencies
from graphc.scalar import Builder, Recipe, Scalar, record
from graphc.types import DType

from .rewrite import Rewrite
from .sweeps import reductions


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


def dots_as_sums(kernel: Kernel) -> Kernel:
    """dot(a, b) over k → sum(a · b) over k, with k in the row."""
    new = Rewrite(kernel)
    for number, value in enumerate(kernel.values):
        if isinstance(value, Dot):
            a, b = (new.take(i) for i in value.inputs)
            dtypes = kernel.dtypes[value.inputs[0]], kernel.dtypes[value.inputs[1]]
            product = new.append(product_of(a, b, dtypes, value.dtype))
            new.numbers[number] = new.append(sum_of(product, value.dtype, value.axes))
    for store in kernel.stores:
        new.keep(store)
    return new.kernel(kernel.parallel, (*kernel.row, *kernel.contracted))


def empty_sums(kernel: Kernel) -> Iterator[Kernel]:
    """What is left of a kernel without points: sums over nothing, which are 0."""
    for store in kernel.stores:
        axes = [a for a in kernel.parallel if a in store.index.axes]
        if store.accumulate and all(a.size for a in axes):
            new = Rewrite(kernel)
            new.store(store.slot, store.index, new.append(Const(0, kernel.dtypes[store.value])))
            yield new.kernel(axes)


def without_rows(kernel: Kernel) -> Kernel:
    """Reductions over nothing are their neutral elements, finished; stores along the row store nothing."""
    new = Rewrite(kernel)
    for number in reductions(kernel):
        reduce = kernel.values[number]
        assert isinstance(reduce, Reduce)
        new.numbers[number] = new.append(Apply(reduce.finish, tuple(new.append(c) for c in reduce.init)))
    row = set(kernel.row)
    for store in kernel.stores:
        if not row & store.index.axes:
            new.keep(store)
    return new.kernel(kernel.parallel)


def with_best_row(kernel: Kernel) -> Kernel:
    """The kernel with a row chosen anew where all that it reduces are sums."""
    chosen = sums_as_reductions(sums_as_stores(kernel))
    return kernel if kernel.row and not chosen.row else chosen


def sums_as_stores(kernel: Kernel) -> Kernel:
    """Sums over a row that is one choice of several, since others run over parallel axes → sums over parallel axes, in
    the order in which the largest input lies in memory. So the best of them becomes the row."""
    reduces, stores = reductions(kernel), [s for s in kernel.stores if s.accumulate]
    users = [(n, i) for n, v in enumerate(kernel.values) for i in dependencies(v)]
    loads = [v for v in kernel.values if isinstance(v, Load)]
    if not stores or not loads or any(i in reduces for _, i in users) or not all(map(partial(is_sum, kernel), reduces)):
        return kernel
    new = Rewrite(kernel)
    for store in kernel.stores:
        value = kernel.values[store.value]
        if isinstance(value, Reduce):
            new.store(store.slot, store.index, new.take(value.inputs[0]), (*store.accumulate, *kernel.row))
        else:
            new.keep(store)
    largest = max(loads, key=lambda v: kernel.slots[v.slot].size).index
    return new.kernel(sorted((*kernel.parallel, *kernel.row), key=lambda a: -abs(largest.coefficient(a))))


def is_sum(kernel: Kernel, number: int) -> bool:
    """Whether a reduction is a plain sum."""
    reduce = kernel.values[number]
    assert isinstance(reduce, Reduce)
    plain = sum_of(reduce.inputs[0], reduce.dtype, reduce.axes)
    same = reduce.combine.steps == plain.combine.steps and reduce.finish.steps == plain.finish.steps
    return same and reduce.init == plain.init


def sums_as_reductions(kernel: Kernel) -> Kernel:
    """Sums over parallel axes of a kernel without a row → sums over a row: over the axes of one of them, the innermost
    if there is a choice. A store that sums over more sums the row's sums up; one over other axes has the row's."""
    sets = [set(s.accumulate) for s in kernel.stores if s.accumulate]
    fitting = [a for a in sets if all(a <= b or not a & b for b in sets)]
    if kernel.row or not fitting:
        return kernel
    axes = max(fitting, key=lambda found: max(kernel.parallel.index(a) for a in found))
    new, row = Rewrite(kernel), tuple(a for a in kernel.parallel if a in axes)
    for store in kernel.stores:
        if axes <= set(store.accumulate):
            total = sum_of(new.take(store.value), kernel.dtypes[store.value], row)
            rest = tuple(a for a in store.accumulate if a not in axes)
            new.store(store.slot, store.index, new.append(total), rest)
        else:
            new.keep(store)
    return new.kernel([a for a in kernel.parallel if a not in axes], row)


def _add(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return a + b


def _same(s: Builder, a: Scalar) -> Scalar:
    return a


def _component(s: Builder, *state: Scalar, number: int) -> Scalar:
    return state[number]


def _product(s: Builder, a: Scalar, b: Scalar, dtype: DType) -> Scalar:
    return s.cast(a, dtype) * s.cast(b, dtype)
