"""Code that kernels share: a module of functions that is made once, whatever kernels call them.

In: the text of a module. Out: that text with names that say all about it, so that it can be kept and found by them.
"""

from __future__ import annotations

import hashlib

from graphc.dataclass import dataclass

SELF = "self"  # in a text: what its functions' names begin with


@dataclass(frozen=True)
class Shared:
    """A module. Its functions' names begin with its own, which no other text has."""

    name: str
    ir: str

    @staticmethod
    def of(stem: str, ir: str) -> Shared:
        """The module of this text, whose functions are called `@self_…` in it."""
        name = f"{stem}_{hashlib.sha256(ir.encode()).hexdigest()[:16]}"
        return Shared(name, ir.replace(f"@{SELF}_", f"@{name}_"))
