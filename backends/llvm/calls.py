"""How calls become native code: each kind has its own lowering, as kernels have theirs.

In: a kernel or a call, the machine, a name. Out: a `NativeKernel`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.errors import UnsupportedError
from graphc.kernel import Call, Kernel
from graphc.sort import Sort

from .emit.kernel_code import NativeKernel
from .lower import lower
from .target import Target


def _sort(call: Sort, target: Target, name: str) -> NativeKernel:
    from .sorting.sort import lower_sort  # few programs sort

    return lower_sort(call, target, name)


# For each kind of call, what makes its native form. Symbols begin with the name that it is given.
CALLS: dict[type[Call], Callable[[Any, Target, str], NativeKernel]] = {Sort: _sort}


def lower_work(work: Kernel | Call, target: Target, name: str) -> NativeKernel:
    """Generate the code of a kernel or call; its symbols begin with `name`. Raises UnsupportedError for what it can't
    do."""
    if isinstance(work, Kernel):
        return lower(work, target, name)
    make = CALLS.get(type(work))
    if make is None:
        raise UnsupportedError("the llvm backend has no way to carry out this call", got=str(work))
    return make(work, target, name)
