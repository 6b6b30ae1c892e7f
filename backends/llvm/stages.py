"""A kernel as several that follow each other, where one loop nest would be worse or is not possible.

In: a kernel and the machine. Out: `Stages`: kernels in order, and the scratch memory by which they hand on partial
results. Everything here is kernel → kernel, so each stage is lowered like any other. Parts are cut by shape, never
by the number of threads, so that results do not depend on it.
"""

from __future__ import annotations

from graphc.errors import UnsupportedError
from graphc.index import axes_size
from graphc.kernel import Dot, Kernel, KernelKind, Slot

from ..kernels.segments import segments
from ..kernels.spread import PARTS, SpreadDot, SpreadSweeps, Stages, cut, in_partial_sums, longest
from ..kernels.sums import dots_as_sums, empty_sums, with_best_row, without_rows
from .nests.plan import Estimate, plan_loop, plan_reduction
from .products.blocking import DOT_TERMS, Blocking, block
from .target import Target

UNITS = 32  # work that makes fewer units than this is cut into parts
LEAST_ROWS = 32  # rows of a part that are read line by line
SEGMENTS_NS = 20_000.0  # work from which segments repay their functions
PART_NS = 10_000.0  # the least work of a part


def stages_of(kernel: Kernel, target: Target) -> Stages:
    """The kernels to lower, in order; none where there is nothing to do."""
    if any(isinstance(v, Dot) for v in kernel.values):
        blocking = block(kernel, target)
        if blocking is not None:
            parts = count_dot_parts(kernel, blocking)
            return SpreadDot(kernel, blocking.dot, parts).stages() if parts > 1 else Stages((kernel,))
        if kernel.row:
            raise UnsupportedError("the llvm backend has no kernels that both contract and reduce", got=str(kernel))
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
    if kernel.accumulates:
        scratch: list[Slot] = []
        kernels = tuple(in_partial_sums(kernel, len(kernel.slots), scratch, parts))
        return Stages(kernels, tuple(scratch))
    # An update in place would come in a stage of its own, before others that want the old value.
    updates = bool(kernel.loaded & kernel.written)
    if parts > 1 and not updates:
        return SpreadSweeps(kernel, cut(longest(kernel.row), parts)).stages()
    return Stages((kernel,))


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
