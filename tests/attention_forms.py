"""Which attention kernels a backend can be expected to lower: the forms of `tests/attention_kernels.py`."""

from __future__ import annotations

from collections.abc import Collection

from graphc.kernel import Dot, Kernel, Reduce, dependencies


def refuses(kernel: Kernel) -> str:
    """Why it is of no such form; empty where it is. Sums over scores run over one axis; at most two follow each other:
    maxima, then sums of what is relative to them."""
    reducing = {n: v for n, v in enumerate(kernel.values) if isinstance(v, Reduce | Dot)}
    behind = _behind(kernel, {n for n, v in reducing.items() if isinstance(v, Dot)})
    inner = [n for n, v in reducing.items() if isinstance(v, Dot) and not any(i in behind for i in v.inputs)]
    sums = {n: v for n, v in reducing.items() if n not in inner}
    if len({frozenset(v.axes) for v in sums.values()}) != 1:
        return "sums over different axes of the scores"
    if any(len(reducing[n].axes) != 1 for n in inner):
        return "a product for scores over several axes"
    before = {n: _before(kernel, n, sums.keys()) for n in sums}
    if any(before[m] for n in sums for m in before[n]):
        return "scores that depend on sums of scores"
    followed = {m for n in sums for m in before[n]}
    is_max = {n for n, v in sums.items() if isinstance(v, Reduce) and v.finish.name == "max"}
    return "" if followed <= is_max else "sums that follow no maximum"


def _behind(kernel: Kernel, numbers: set[int]) -> set[int]:
    found = set(numbers)
    for number, value in enumerate(kernel.values):
        if any(i in found for i in dependencies(value)):
            found.add(number)
    return found


def _before(kernel: Kernel, number: int, sums: Collection[int]) -> set[int]:
    """The sums that a sum depends on."""
    found: set[int] = set()
    pending = list(dependencies(kernel.values[number]))
    while pending:
        n = pending.pop()
        if n in sums:
            found.add(n)
        pending += dependencies(kernel.values[n])
    return found
