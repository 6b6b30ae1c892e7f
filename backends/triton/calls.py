"""How calls become Triton source: each kind has its own lowering, as kernels have theirs."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from graphc.errors import UnsupportedError
from graphc.kernel import Call, Kernel
from graphc.sort import Sort

from .launches import KernelSource
from .sort import sort_source
from .source import kernel_source

# For each kind of call, what makes its source. Its slots are the call's.
CALLS: dict[type[Call], Callable[[Any], KernelSource]] = {Sort: sort_source}


def work_source(work: Kernel | Call) -> KernelSource:
    """The Triton source of a kernel or call. Raises UnsupportedError for what the backend has no way to carry out."""
    return kernel_source(work) if isinstance(work, Kernel) else _call_source(work)


@lru_cache(maxsize=256)
def _call_source(call: Call) -> KernelSource:
    make = CALLS.get(type(call))
    if make is None:
        raise UnsupportedError("the triton backend has no way to carry out this call", got=str(call))
    return make(call)
