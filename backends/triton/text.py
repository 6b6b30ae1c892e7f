"""Lines of source with indentation, and names that are unique within a function."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from contextlib import contextmanager

_DIMS = ("line", "column", "point", "rest", "outer", "inner", "batch", "m", "n", "k", "part", "row",
         "walk", "depth", "columns", "around", "only")
_DEVICE_FUNCTIONS = (
    "exp", "trunc", "round_half_even", "shift_left", "shift_right", "shift_right_signed", "umulhi_narrow", "saturate",
    "checked",
)  # fmt: skip
_KERNEL_WORDS = ("tl", "triton", "status", "pid", "start", "first", "last", "float", "range")
_RESERVED = frozenset(
    (
        *keyword.kwlist, *_KERNEL_WORDS, *_DEVICE_FUNCTIONS,
        *(name + suffix for name in _DIMS for suffix in ("", "_in", "_t", "_t_in")),
    )
)  # fmt: skip


class Names:
    """Hands out identifiers: the wanted name, or that with a number."""

    def __init__(self, taken: frozenset[str] = _RESERVED) -> None:
        self._taken = set(taken)

    def unique(self, wanted: str) -> str:
        base = re.sub(r"\W+", "_", wanted).strip("_") or "value"
        base = f"v{base}" if base[0].isdigit() else base
        name, number = base, 1
        while name in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.add(name)
        return name


class Lines:
    """The body of a function, line by line."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._depth = 1

    def line(self, text: str) -> None:
        self.lines.append("    " * self._depth + text)

    def comment(self, text: str) -> None:
        self.line(f"# {text}")

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """`head:` with what is emitted inside indented under it."""
        self.line(f"{head}:")
        self._depth += 1
        yield
        self._depth -= 1

    def function(self, name: str, parameters: list[str], doc: str = "") -> str:
        """The text of a device function with this body."""
        head = ["@triton.jit", f"def {name}({', '.join(parameters)}):"]
        if doc:
            head.append(f'    """{doc}"""')
        return "\n".join([*head, *self.lines]) + "\n"
