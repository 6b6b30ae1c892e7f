"""What loops carry: nests of arrays that keep their structure, shapes and dtypes from one iteration to the next.

In: what a loop starts with, and how its body is traced. Out: types for which the body gives what it takes, or an error
that names the leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.dataclass import dataclass
from graphc.errors import DTypeError, ShapeError
from graphc.ir import Node
from graphc.types import DType, TensorType

from .bodies import BodyTrace, Leaf, Leaves, array_leaf, require_structure
from .emit import as_tensor
from .promotion import Number, weak_dtype
from .tensor import Tensor


@dataclass
class Carries:
    """The leaves of a loop's carry. `types`: as the body takes them."""

    loop: str
    leaves: Leaves
    values: list[Tensor | Number]
    types: list[TensorType]

    @staticmethod
    def of(loop: str, leaves: Leaves) -> Carries:
        """What a loop starts with."""
        pairs = zip(leaves.values, leaves.paths, strict=True)
        values = [array_leaf(x, path, f"the carry of gx.{loop}") for x, path in pairs]
        types = [x.type if isinstance(x, Tensor) else TensorType(weak_dtype(x), ()) for x in values]
        return Carries(loop, leaves, values, types)

    @property
    def tensors(self) -> list[Tensor]:
        """What the loop starts with, of the settled types."""
        return [as_tensor(x, t.dtype) for x, t in zip(self.values, self.types, strict=True)]

    def settled(self, traced: Callable[[Sequence[TensorType]], tuple[BodyTrace, Any]]) -> tuple[BodyTrace, list[Node]]:
        """The trace of a body that gives each leaf the type that it takes, and what it gives.

        `traced(types)` traces the body and says what the carry is afterwards. Python numbers at the start are weak:
        where the body gives another dtype that holds them, they have that one, and the body is traced once more. Mostly
        they settle at once; where leaves take turns, each trace may tell of one more.
        """
        for left in reversed(range(len(self.values) + 2)):
            body, after = traced(self.types)
            require_structure(f"the body of gx.{self.loop} gives the carry", after, "what it starts with",
                              self.leaves.tree)  # fmt: skip
            found = body.leaves(Leaves.of(after, ""), f"the carry of gx.{self.loop}")
            better = [self._better(*each) for each in zip(self.values, self.types, found, strict=True)]
            if better == self.types or not left:
                break
            self.types = better
        return body, [self._kept(number, leaf, body) for number, leaf in enumerate(found)]

    def _better(self, start: Tensor | Number, type_: TensorType, found: Leaf) -> TensorType:
        """The type to try next for a leaf."""
        if isinstance(start, Tensor) or (isinstance(found, Node) and found.shape):
            return type_
        wanted = found.dtype if isinstance(found, Node) else weak_dtype(found)
        if not isinstance(found, Node) and _holds(type_.dtype, found):
            return type_
        return type_.with_dtype(wanted) if _holds(wanted, start) else type_

    def _kept(self, number: int, leaf: Leaf, body: BodyTrace) -> Node:
        """The leaf as a node of its type. Raises ShapeError or DTypeError where it has another."""
        type_, path = self.types[number], self.leaves.paths[number]
        if not isinstance(leaf, Node):
            if type_.shape or not _holds(type_.dtype, leaf):
                raise self._changed(path, type_, TensorType(weak_dtype(leaf), ()), f"the number {leaf}")
            return body.number(leaf, type_.dtype)
        if leaf.type != type_:
            where = f", made at {leaf.loc}" if leaf.loc and leaf.inputs else ""
            raise self._changed(path, type_, leaf.tensor_type, f"{leaf.type}{where}")
        return leaf

    def _changed(self, path: str, before: TensorType, after: TensorType, told: str) -> ShapeError | DTypeError:
        rule = f"the carry of gx.{self.loop} keeps its types: {path} goes into an iteration as {before}"
        got = f"it comes out as {told}"
        if before.shape == after.shape:
            hint = f"start with gx.{after.dtype}, or give gx.astype({path}, gx.{before.dtype}) back"
            return DTypeError(rule, got=got, hint=hint)
        hint = "start with the final shape; what grows is stacked by gx.scan, as its y"
        if after.shape[len(after.shape) - len(before.shape) :] == before.shape or 1 in before.shape:
            hint = f"something in the body broadcasts: start with shape {after.shape}, or reduce what is given back"
        return ShapeError(rule, got=got, hint=hint)


def _holds(dtype: DType, number: Number) -> bool:
    """Whether a Python number can be of the dtype, by its kind."""
    if isinstance(number, bool) or dtype.is_bool:
        return isinstance(number, bool) and dtype.is_bool
    return dtype.is_float or isinstance(number, int)
