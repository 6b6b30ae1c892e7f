"""Calls into llvmlite that leave its lock as they found it.

llvmlite takes a lock around each call, in Python: a Ctrl-C between two of those steps leaves it taken for good, and
every other thread that wants to compile waits for ever, those that help this one included.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any


class LLVMCalls:
    """`with LLVMCalls():` around calls into llvmlite. For one use."""

    __slots__ = ("_lock",)

    def __enter__(self) -> None:
        lock = llvmlite_lock()
        # Whoever has it already is in the middle of a call, which this one interrupts: it will give it back itself.
        self._lock = None if lock is None or lock._is_owned() else lock

    def __exit__(self, *_: object) -> None:
        if self._lock is not None and self._lock._is_owned():
            self._lock._release_save()  # however often it was taken, in one step


@lru_cache(maxsize=1)
def llvmlite_lock() -> Any:
    """The RLock that llvmlite takes around its calls; None in a version that has none there."""
    import llvmlite.binding as llvm

    return getattr(getattr(llvm.ffi.lib, "_lock", None), "_lock", None)
