"""Functions that make the same nodes again and again, as optimizers' do for each parameter: traced, then copied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from graphc import ops
from graphc.ir import on_equal_inputs, topological_order
from graphc.types import TensorType

from .emit import as_tensor, frame, wrap
from .tensor import Tensor
from .variable import Variable

Value: TypeAlias = Tensor | Variable


class Repeated:
    """A function, for many calls at one place of a trace. It gives tensors that follow from its arguments, and from
    what does not change meanwhile, and does nothing else; so arguments of the same types make the same nodes.

    It is called with the first arguments of their types, and once more with stand-ins for others. All further calls
    copy what depends on the stand-ins: the rest, such as an optimizer's rates, all of them share.
    """

    def __init__(self, function: Callable[..., Sequence[Tensor]]) -> None:
        self._function = function
        self._copies: dict[tuple[TensorType, ...], _Copies | None] = {}

    def __call__(self, *values: Value) -> Sequence[Tensor]:
        types = tuple([x.type for x in values])
        if types not in self._copies:
            self._copies[types] = None
            return self._function(*values)
        copies = self._copies[types]
        if copies is None:
            copies = self._copies[types] = _Copies(self._function, types)
        return copies.made(values)


class _Copies:
    """What a function made of stand-ins for arguments of these types: the nodes that depend on them, in order."""

    def __init__(self, function: Callable[..., Sequence[Tensor]], types: Sequence[TensorType]) -> None:
        self._stand_ins = [ops.input(type=t, name="stand_in") for t in types]
        self._results = [frame().node(r) for r in function(*map(wrap, self._stand_ins))]
        dependent = dict.fromkeys(self._stand_ins)
        for node in topological_order(self._results):
            if any(i in dependent for i in node.inputs):
                dependent[node] = None
        self._nodes = list(dependent)[len(self._stand_ins) :]

    def made(self, values: Sequence[Value]) -> Sequence[Tensor]:
        """The results for these values."""
        here = frame()
        new = {s: here.node(as_tensor(x)) for s, x in zip(self._stand_ins, values, strict=True)}
        for node in self._nodes:
            new[node] = on_equal_inputs(node, tuple([new.get(i, i) for i in node.inputs]))
        return [wrap(new.get(r, r)) for r in self._results]
