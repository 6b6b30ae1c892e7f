"""A loop kernel in segments along its axes, between the places where a bound begins or ceases to hold.

In: a kernel without reductions. Out: kernels for parts of its axes, in which pads and concatenations have vanished:
nothing is masked, and nothing is computed that is not selected. A few at most, else the kernel as it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from graphc.index import Axis, Bound, Index
from graphc.kernel import Inside, Kernel, Load

from .rewrite import Rewrite

MOST = 4  # segments; each costs a function


def segments(kernel: Kernel) -> tuple[Kernel, ...]:
    """The segments of a kernel, which together store what it stores."""
    cuts = {axis: sorted(breaks(kernel, axis)) for axis in kernel.parallel}
    pieces = {
        axis: list(itertools.pairwise([0, *points, axis.size])) for axis, points in cuts.items() if points
    }
    # Inner axes first: where bounds differ between lanes they cost most.
    chosen: list[Axis] = []
    count = 1
    for axis in reversed(pieces):
        if count * len(pieces[axis]) <= MOST:
            chosen.append(axis)
            count *= len(pieces[axis])
    if not chosen:
        return (kernel,)
    return tuple(
        segment(kernel, dict(zip(chosen, part, strict=True)))
        for part in itertools.product(*(pieces[a] for a in chosen))
    )


def segment(kernel: Kernel, parts: dict[Axis, tuple[int, int]]) -> Kernel:
    """The kernel on the parts [start, stop) of some of its axes."""
    shorter = {axis: Axis(axis.name, stop - start) for axis, (start, stop) in parts.items()}
    moved = {axis: Index.of(shorter[axis]) + start for axis, (start, _) in parts.items()}
    new = Rewrite(kernel, moved)
    for store in kernel.stores:
        new.keep(store)
    return new.kernel([shorter.get(a, a) for a in kernel.parallel])


def breaks(kernel: Kernel, axis: Axis) -> set[int]:
    """The positions inside an axis where a bound on nothing but this axis begins or ceases to hold."""
    bounds = {b for v in kernel.values if isinstance(v, Load | Inside) for b in v.bounds}
    return {p for b in bounds if b.index.axes == {axis} for p in edges(b, axis) if 0 < p < axis.size}


def edges(bound: Bound, axis: Axis) -> Iterator[int]:
    """The first positions at which low ≤ c·axis + k and c·axis + k < high change their truth."""
    c, k = bound.index.coefficient(axis), bound.index.constant
    if c and bound.index.is_affine:
        for limit in (bound.low, bound.high):
            # c > 0: c·a + k ≥ limit from a = ⌈(limit − k) / c⌉ on; c < 0: it ceases after ⌊(limit − k) / c⌋.
            yield -(-(limit - k) // c) if c > 0 else (limit - k) // c + 1
