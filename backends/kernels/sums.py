"""Reductions, and kernels in which they are said otherwise.

In: a kernel. Out: one that does the same: products as sums, a reduction over the row as one over parallel axes or the
other way round, and what is left of reductions over nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from graphc.index import Axis
from graphc.kernel import Accumulate, Apply, Const, Dot, Kernel, Load, Reduce, Value, dependencies
from graphc.scalar import Builder, Scalar, record
from graphc.types import DType
from graphc.value import component

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


def product_of(a: int, b: int, dtypes: tuple[DType, DType], dtype: DType) -> Apply:
    """The product of two values in the precision of `dtype`."""
    return Apply(record("multiply", _product, dtypes, {"dtype": dtype}), (a, b))


def dots_as_sums(kernel: Kernel, numbers: Collection[int] | None = None) -> Kernel:
    """dot(a, b) over k → sum(a · b) over k, with k in the row: of all products, or of those values."""
    new = Rewrite(kernel)
    for number, value in enumerate(kernel.values):
        if isinstance(value, Dot) and (numbers is None or number in numbers):
            a, b = (new.take(i) for i in value.inputs)
            dtypes = kernel.dtypes[value.inputs[0]], kernel.dtypes[value.inputs[1]]
            product = new.append(product_of(a, b, dtypes, value.dtype))
            new.numbers[number] = new.append(sum_of(product, value.dtype, value.axes))
    for store in kernel.stores:
        new.keep(store)
    return new.kernel(kernel.parallel, (*kernel.row, *kernel.contracted))


def empty_sums(kernel: Kernel) -> Iterator[Kernel]:
    """What is left of a kernel without points: neutral elements, finished, of what is accumulated over nothing."""
    for store in kernel.stores:
        axes, value = [a for a in kernel.parallel if a in store.index.axes], kernel.values[store.value]
        if isinstance(value, Accumulate) and all(a.size for a in axes):
            new = Rewrite(kernel)
            new.store(store.slot, store.index, new.append(_of_nothing(new, value)))
            yield new.kernel(axes)


def without_rows(kernel: Kernel) -> Kernel:
    """Reductions over nothing are their neutral elements, finished; stores along the row store nothing."""
    new = Rewrite(kernel)
    for number in reductions(kernel):
        reduce = kernel.values[number]
        assert isinstance(reduce, Reduce)
        new.numbers[number] = new.append(_of_nothing(new, reduce))
    row = set(kernel.row)
    for store in kernel.stores:
        if not row & store.index.axes:
            new.keep(store)
    return new.kernel(kernel.parallel)


def _of_nothing(new: Rewrite, value: Reduce | Accumulate) -> Apply:
    return Apply(value.finish, tuple(new.append(c) for c in value.init))


def with_best_row(kernel: Kernel) -> Kernel:
    """The kernel with a row chosen anew where nothing but stores takes what it reduces."""
    chosen = with_a_row(without_a_row(kernel))
    return kernel if kernel.row and not chosen.row else chosen


def without_a_row(kernel: Kernel) -> Kernel:
    """Reductions over a row that is one choice of several, since others are over parallel axes → all of them over
    parallel axes, in the order in which the largest input lies in memory. So the best of them becomes the row."""
    reduces, loads = reductions(kernel), [v for v in kernel.values if isinstance(v, Load)]
    users = [v for v in kernel.values if any(i in reduces for i in dependencies(v))]
    if not kernel.accumulates or not loads or not all(is_total(kernel, v) for v in users):
        return kernel
    new = Rewrite(kernel)
    for store in kernel.stores:
        value = kernel.values[store.value]
        if isinstance(value, Reduce) or value in users:
            assert isinstance(value, Reduce | Accumulate)
            row, axes = (value, ()) if isinstance(value, Reduce) else (kernel.values[value.inputs[0]], value.axes)
            inputs = tuple(new.take(i) for i in row.inputs)
            whole = Accumulate(value.combine, value.init, value.finish, inputs, (*axes, *kernel.row))
            new.store(store.slot, store.index, new.append(whole))
        else:
            new.keep(store)
    largest = max(loads, key=lambda v: kernel.slots[v.slot].size).index
    return new.kernel(sorted((*kernel.parallel, *kernel.row), key=lambda a: -abs(largest.coefficient(a))))


def is_total(kernel: Kernel, value: Value) -> bool:
    """Whether a value accumulates the states of rows, so that it is one reduction over both."""
    if not isinstance(value, Accumulate):
        return False
    rows = [kernel.values[i] for i in value.inputs]
    states = [r for r in rows if isinstance(r, Reduce) and r.combine.steps == value.combine.steps]
    alike = len({(r.combine.results, r.inputs) for r in states}) == 1 and len(states) == len(rows)
    return alike and all(not r.finish.steps and r.finish.results == (k,) for k, r in enumerate(states))


def with_a_row(kernel: Kernel) -> Kernel:
    """Reductions over parallel axes of a kernel without a row → reductions over a row: over the axes of one of them,
    the innermost if there is a choice. One over more axes accumulates the row's states; one over others stays."""
    sets = [set(v.axes) for v in kernel.values if isinstance(v, Accumulate)]
    fitting = [a for a in sets if all(a <= b or not a & b for b in sets)]
    if kernel.row or not fitting:
        return kernel
    axes = max(fitting, key=lambda found: max(kernel.parallel.index(a) for a in found))
    new, row = Rewrite(kernel), tuple(a for a in kernel.parallel if a in axes)
    for store in kernel.stores:
        value = kernel.values[store.value]
        if isinstance(value, Accumulate) and axes <= set(value.axes):
            rest = tuple(a for a in value.axes if a not in axes)
            new.store(store.slot, store.index, new.append(_in_rows(new, value, row, rest)))
        else:
            new.keep(store)
    return new.kernel([a for a in kernel.parallel if a not in axes], row)


def _in_rows(
    new: Rewrite, value: Accumulate, row: tuple[Axis, ...], rest: tuple[Axis, ...]
) -> Reduce | Accumulate:
    """What is accumulated, with the row reduced first and then the `rest` of its axes, where there is any."""
    inputs = tuple(new.take(i) for i in value.inputs)
    if not rest:
        return Reduce(value.combine, value.init, value.finish, inputs, row)
    finishes = [component(value.init, k) for k in range(len(inputs))]
    rows = tuple(new.append(Reduce(value.combine, value.init, f, inputs, row)) for f in finishes)
    return Accumulate(value.combine, value.init, value.finish, rows, rest)


def _add(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return a + b


def _same(s: Builder, a: Scalar) -> Scalar:
    return a


def _product(s: Builder, a: Scalar, b: Scalar, dtype: DType) -> Scalar:
    return s.cast(a, dtype) * s.cast(b, dtype)
