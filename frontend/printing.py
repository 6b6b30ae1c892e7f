"""`gx.print`: values on the screen at each call of a compiled function, where Python's `print` shows one trace.

What is printed becomes an output of the graph more, and is shown when the call has ended, in the order of the trace. So
it works on every backend, and is as cheap as an output.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.brief import brief
from graphc.dataclass import dataclass
from graphc.errors import Location, UnsupportedError
from graphc.ir import Node

from .context import current_frame
from .exchange import is_foreign_array
from .location import user_location, with_user_line
from .tensor import Tensor
from .variable import Variable


@dataclass(frozen=True)
class Printed:
    """One `gx.print` of a trace: its texts, with None where the value of an output stands."""

    texts: tuple[str | None, ...]
    sep: str
    where: Location | None

    @property
    def count(self) -> int:
        return self.texts.count(None)

    def show(self, arrays: Sequence[np.ndarray]) -> None:
        """Print, with the elements of these in their places."""
        left = iter(arrays)
        builtins.print(*[_text(next(left)) if text is None else text for text in self.texts], sep=self.sep, flush=True)


@with_user_line
def print(*values: Any, sep: str = " ") -> None:
    """Print values as Python's `print` does; in a compiled function at each call, when it has ended.

    values: tensors, Variables and arrays, and whatever has a text of its own, which is that of the time of tracing.
    Programs and packages can't be built of functions that print. Raises UnsupportedError in the body of a loop,
    branch or checkpoint: what is to be seen of it is to be a result.
    """
    frame = current_frame()
    if frame is None:
        builtins.print(*[_text(np.asarray(x)) if _is_array(x) else str(x) for x in values], sep=sep)
        return
    if frame.parent is not None:
        hint = "give the value as a result, which gx.scan stacks as y, and print it where the loop or branch is over"
        rule = "gx.print is not for the bodies of loops, branches and checkpoints, which run by themselves"
        raise UnsupportedError(rule, got=brief(values[0]) if values else None, hint=hint)
    from .emit import as_tensor

    nodes: list[Node] = [frame.node(as_tensor(x)) for x in values if _is_array(x)]
    texts = tuple(None if _is_array(x) else str(x) for x in values)
    frame.printed.append((Printed(texts, sep, user_location()), nodes))


def _is_array(x: Any) -> bool:
    return isinstance(x, Tensor | Variable) or is_foreign_array(x)


def _text(array: np.ndarray) -> str:
    """Numbers as Python has them, arrays as NumPy does."""
    return str(array) if array.ndim else str(array.item())
