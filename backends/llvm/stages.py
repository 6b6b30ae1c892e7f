"""A kernel as several that follow each other, where one loop nest would be worse or is not possible.

In: a kernel and the machine. Out: `Stages`: kernels in order, and the scratch memory by which they hand on partial
results. Everything here is kernel → kernel, so each stage is lowered like any other. Parts are cut by shape, never
by the number of threads, so that results do not depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from graphc.errors import UnsupportedError
from graphc.index import axes_size
from graphc.kernel import Apply, Const, Dot, Kernel, KernelKind, Load, Reduce, Slot, dependencies

from ..kernels.rewrite import Rewrite, product_of, sum_of
from ..kernels.segments import segments
from ..kernels.spread import PARTS, SpreadDot, SpreadSweeps, Stages, cut, in_partial_sums, longest
from ..kernels.sweeps import reductions
from .nests.plan import Estimate, plan_loop, plan_reduction
from .products.blocking import Blocking, block
from .target import Target

UNITS = 32  # work that makes fewer units than this is cut into parts
LEAST_ROWS = 32  # rows of a part that are read line by line
SEGMENTS_NS = 20_000.0  # work from which segments repay their functions
PART_NS = 10_000.0  # the least work of a part
DOT_TERMS = 1 << 14  # about so many terms has a part of a product that sums up more than twice as many


def stages_of(kernel: Kernel, target: Target) -> Stages:
    """The kernels to lower, in order; none where there is nothing to do."""
    if any(isinstance(v, Dot) for v in kernel.values):
        blocking = block(kernel, target)
        if blocking is not None:
            parts = count_dot_parts(kernel, blocking)
            return SpreadDot(kernel, blocking.dot, parts).stages() if parts > 1 else Stages((kernel,))
        kernel = dots_as_sums(kernel)
    if any(a.size == 0 for a in kernel.parallel):
        return Stages(tuple(empty_sums(kernel)))
    if any(a.size == 0 for a in kernel.row):
        kernel = without_rows(kernel)
    if kernel.in_order:
        return Stages((kernel,))
    kernel = with_best_row(kernel)
    if not kernel.stores:
        return Stages(())
    if kernel.kind is KernelKind.LOOP:
        large = Estimate(kernel, target).ns(plan_loop(kernel, target).lanes) > SEGMENTS_NS
        return Stages(segments(kernel) if large else (kernel,))
    if kernel.kind is KernelKind.INDEXED:
        return Stages((kernel,))
    parts = count_parts(kernel, target)
    if any(s.accumulate for s in kernel.stores):
        scratch: list[Slot] = []
        kernels = tuple(in_partial_sums(kernel, len(kernel.slots), scratch, parts))
        return Stages(kernels, tuple(scratch))
    # An update in place would come in a stage of its own, before others that want the old value.
    updates = bool(kernel.loaded & kernel.written)
    if parts > 1 and not updates:
        return SpreadSweeps(kernel, cut(longest(kernel.row), parts)).stages()
    return Stages((kernel,))


# ---- saying the same more simply -----------------------------------------------------------------------------


def dots_as_sums(kernel: Kernel) -> Kernel:
    """dot(a, b) over k → sum(a · b) over k, with k as the row. Raises UnsupportedError where rows are reduced too."""
    if kernel.row:
        raise UnsupportedError(
            "the llvm backend has no kernels that both contract and reduce", got=str(kernel)
        )
    new = Rewrite(kernel, (*kernel.row, *kernel.contracted))
    for number, value in enumerate(kernel.values):
        if isinstance(value, Dot):
            a, b = (new.take(i) for i in value.inputs)
            dtypes = kernel.dtypes[value.inputs[0]], kernel.dtypes[value.inputs[1]]
            product = new.append(product_of(a, b, dtypes, value.dtype))
            new.numbers[number] = new.append(sum_of(product, value.dtype, new.row))
    for store in kernel.stores:
        new.keep(store)
    return new.kernel(kernel.parallel)


def empty_sums(kernel: Kernel) -> Iterator[Kernel]:
    """What is left of a kernel without points: sums over nothing, which are 0."""
    for store in kernel.stores:
        axes = [a for a in kernel.parallel if a in store.index.axes]
        if store.accumulate and all(a.size for a in axes):
            new = Rewrite(kernel, ())
            new.store(store.slot, store.index, new.append(Const(0, kernel.dtypes[store.value])))
            yield new.kernel(axes)


def without_rows(kernel: Kernel) -> Kernel:
    """Reductions over nothing are their neutral elements, finished; stores along the row store nothing."""
    new = Rewrite(kernel, ())
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
    new = Rewrite(kernel, ())
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
    new = Rewrite(kernel, [a for a in kernel.parallel if a in axes])
    for store in kernel.stores:
        if axes <= set(store.accumulate):
            total = sum_of(new.take(store.value), kernel.dtypes[store.value], new.row)
            rest = tuple(a for a in store.accumulate if a not in axes)
            new.store(store.slot, store.index, new.append(total), rest)
        else:
            new.keep(store)
    return new.kernel([a for a in kernel.parallel if a not in axes])


# ---- how many parts -------------------------------------------------------------------------------------------


def count_parts(kernel: Kernel, target: Target) -> int:
    """Into how many parts to cut what a kernel sums up, so that there is work for many threads."""
    plan = plan_reduction(kernel, target)
    cost = Estimate(kernel, target).ns(plan.lanes)
    if plan.units >= UNITS:
        return 1
    most = kernel.row[-1].size // LEAST_ROWS if plan.rows_at_once else PARTS
    return max(1, min(PARTS, most, round(cost / PART_NS), 2 * UNITS // plan.units))


def count_dot_parts(kernel: Kernel, blocking: Blocking) -> int:
    """Into how many parts to cut what a product sums over: so many that none has too many terms, but so few that
    their results stay small beside what is read."""
    if not blocking.dtype.is_float or blocking.depth <= 2 * DOT_TERMS:
        return 1
    read = sum(kernel.slots[s].size for s in kernel.loaded)
    return min(-(-blocking.depth // DOT_TERMS), read // (4 * axes_size(kernel.axes[blocking.dot])))
