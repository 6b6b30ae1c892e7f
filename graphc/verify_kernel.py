"""Checks that a kernel is well formed: comes in finished, goes out as it was or as a CompileError."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import CompileError
from .index import Bound, Index
from .kernel import (
    Accumulate,
    Apply,
    Dot,
    Kernel,
    KernelKind,
    Load,
    Reduce,
    Scan,
    Store,
    Value,
    dependencies,
    sorted_axes,
)
from .types import DType
from .value import Monoidal


def verify_kernel(kernel: Kernel) -> None:
    """Check it. Raises CompileError with the value or store at fault.

    Values come after what they need, with the dtypes that it has; every axis is declared, once, in the group that
    follows from the values; loads stay inside of their slots where no bound guards them; a store's value varies over
    no axes but its index's and those that it sums. What is no ATTENTION has one row, or one contraction.
    """
    for number, value in enumerate(kernel.values):
        if any(i >= number for i in dependencies(value)):
            raise CompileError("a value comes before what it needs", got=f"v{number} = {value}")
        if any(isinstance(kernel.values[i], Accumulate) for i in dependencies(value)):
            raise _fault("an accumulated value is used before the kernel has ended", kernel, f"v{number}")
    _check_axes(kernel)
    for number, value in enumerate(kernel.values):
        _check_value(kernel, number, value)
    for store in kernel.stores:
        _check_store(kernel, store)


def _check_axes(kernel: Kernel) -> None:
    declared = (*kernel.parallel, *kernel.row, *kernel.contracted)
    if len(set(declared)) != len(declared) or len({a.name for a in declared}) != len(declared):
        raise _fault("an axis is declared twice", kernel)
    used = {a for v in kernel.values for i in v.indices for a in i.axes}
    used |= {a for v in kernel.values if isinstance(v, Reduce | Scan | Dot | Accumulate) for a in v.axes}
    if missing := used - set(declared):
        raise _fault(f"an axis is not declared: {', '.join(sorted(a.name for a in missing))}", kernel)
    if sorted_axes(declared, kernel.values) != (kernel.parallel, kernel.row, kernel.contracted):
        raise _fault("the groups of axes are not those that the values reduce", kernel)


def _check_value(kernel: Kernel, number: int, value: Value) -> None:
    what = f"v{number} = {value}"
    own = kernel.kind is KernelKind.ATTENTION
    match value:
        case Load():
            if value.slot >= len(kernel.slots) or value.dtype is not kernel.slots[value.slot].dtype:
                raise _fault("a load has another dtype than its slot", kernel, what)
            if _leaves(value.index, value.bounds, kernel.slots[value.slot].size):
                raise _fault("a load leaves its slot", kernel, what)
        case Apply() if tuple(kernel.dtypes[i] for i in value.inputs) != value.recipe.params:
            raise _fault("a recipe is applied to other dtypes than its own", kernel, what)
        case Reduce() | Scan() | Accumulate() if _dtypes(kernel, value) != [c.dtype for c in value.init]:
            raise _fault("a state has other dtypes than what is combined", kernel, what)
        case Reduce() if not own and value.axes != kernel.row:
            raise _fault("a reduction runs over other axes than the row", kernel, what)
        case Scan() if value.axes != kernel.row:
            raise _fault("a cumulative value goes along other axes than the row", kernel, what)
        case Accumulate() if not set(value.axes) <= set(kernel.parallel):
            raise _fault("a value is accumulated over an axis that is not parallel", kernel, what)
        case Dot() if not own and value.axes != kernel.contracted:
            raise _fault("a product runs over other axes than those contracted", kernel, what)


def _dtypes(kernel: Kernel, value: Monoidal) -> list[DType]:
    return [kernel.dtypes[i] for i in value.inputs]


def _check_store(kernel: Kernel, store: Store) -> None:
    what = f"the store of v{store.value} to s{store.slot}"
    if not store.scatter and _leaves(store.index, (), kernel.slots[store.slot].size):
        raise _fault("a store leaves its slot", kernel, what)
    over, held = set(kernel.accumulated(store)), set(store.index.axes)
    if held & set(kernel.contracted):
        raise _fault("a store is at an axis that is contracted", kernel, what)
    if not store.scatter and (more := kernel.axes[store.value] - held):
        raise _fault(f"a stored value varies over {', '.join(sorted(a.name for a in more))} too", kernel, what)
    if held & over:
        raise _fault("a value is stored at the axes that it is accumulated over", kernel, what)


def _leaves(index: Index, bounds: Iterable[Bound], size: int) -> bool:
    """Whether an affine index that nothing guards reaches beyond a slot."""
    if tuple(bounds) or not index.is_affine:
        return False
    low, high = index.range()
    return low < 0 or high >= size


def _fault(rule: str, kernel: Kernel, what: str = "it") -> CompileError:
    return CompileError(rule, got=f"{what} in\n{kernel}")
