"""Reverse-mode differentiation: nodes in, nodes of their gradients out. It knows no op: each brings its `vjp`.

Rules are built of ops that have rules, so gradients can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from graphc.errors import CompileError, UnsupportedError
from graphc.ir import Node, located, sub_graphs, topological_order
from graphc.op import Kind
from graphc.ops import add, converted
from graphc.ops.rules import no_gradient
from graphc.types import TensorType


def differentiate(
    outputs: Sequence[Node], wrt: Sequence[Node], cotangents: Sequence[Node], *, wide: bool = False
) -> list[Node | None]:
    """Gradients of sum(outputs · cotangents) with respect to each of `wrt`; None where no gradient flows.

    A gradient has the type of its node, a cotangent its output's; of 16-bit floats, cotangents may have the dtype
    that they are computed in, and gradients have it if `wide`: rules of ops with bodies pass them on so. Only nodes on
    a path of floats from `wrt` to `outputs` are visited. `wrt` may hold inner nodes; a path that runs through one of
    them counts for those before it as well. Gradients of 16-bit floats flow as float32 and are rounded where they
    arrive, and where a product takes them. New nodes carry the user's line of the node they are the gradient of.
    Raises UnsupportedError where the path meets an op without a gradient rule.

        %0 = exp(%x)               →    %1 = multiply(%g, %0)       for outputs %0, wrt %x, cotangents %g
    """
    active = _active_nodes(outputs, wrt)
    cotangent, widened = _Cotangents(), _Widened()
    for output, g in zip(outputs, cotangents, strict=True):
        if g.type not in _types_of_gradients(output.tensor_type):
            raise CompileError("a cotangent has its output's type", got=f"{g.type} for {output.type}")
        if output in active:
            cotangent.add(output, g)
    targets = set(wrt)
    for node in reversed(active):
        with located(node.loc):
            flowed = cotangent.of(node)
            if flowed is None or not any(i in active for i in node.inputs):
                continue
            _pass_on(node, flowed, cotangent, active, widened)
        if node not in targets:
            cotangent.forget(node)
    return [_arrived(node, cotangent.of(node), wide) for node in wrt]


def _types_of_gradients(type_: TensorType) -> tuple[TensorType, TensorType]:
    """What a gradient for it may be: of its own type, or as wide as it is computed."""
    return type_, type_.with_dtype(type_.dtype.computes_as)


def _active_nodes(outputs: Sequence[Node], wrt: Sequence[Node]) -> dict[Node, None]:
    """The nodes that gradients flow through: they depend on `wrt`, outputs depend on them, and they are floats.

    In topological order; the dict serves as an ordered set. What lies behind an op that passes no gradient on, such as
    the value that a Variable was assigned in an earlier step, is not looked at.
    """
    targets = set(wrt)
    active: dict[Node, None] = {}
    for node in topological_order(outputs, _passes_gradients):
        reached = _passes_gradients(node) and any(i in active for i in node.inputs)
        if _carries_gradients(node) and (node in targets or reached):
            active[node] = None
    return active


def _passes_gradients(node: Node) -> bool:
    return node.op.vjp is not no_gradient


def _carries_gradients(node: Node) -> bool:
    types = (node.type,) if isinstance(node.type, TensorType) else node.type.items
    return any(t.dtype.is_float for t in types)


class _Widened(dict[Node, Node]):
    """Values of 16-bit floats as those that they are computed in, each converted once."""

    def __missing__(self, node: Node) -> Node:
        found = self[node] = converted(node, node.dtype.computes_as)
        return found


class _Cotangents:
    """What has flowed to each node so far; for a node with several results, to each of them.

    That of a 16-bit float may be of the dtype that it is computed in.
    """

    def __init__(self) -> None:
        self._known: dict[Node, Node | list[Node | None]] = {}

    def of(self, node: Node) -> Node | tuple[Node | None, ...] | None:
        g = self._known.get(node)
        return tuple(g) if isinstance(g, list) else g

    def add(self, node: Node, g: Node) -> None:
        known = self._known.get(node)
        assert not isinstance(known, list)
        self._known[node] = _added(known, g)

    def add_item(self, node: Node, index: int, g: Node) -> None:
        assert not isinstance(node.type, TensorType)
        items = self._known.setdefault(node, [None] * len(node.type.items))
        assert isinstance(items, list)
        known = items[index]
        items[index] = _added(known, g)

    def forget(self, node: Node) -> None:
        self._known.pop(node)


def _added(known: Node | None, g: Node) -> Node:
    if known is None:
        return g
    wide = g.dtype.computes_as
    return add(converted(known, wide), converted(g, wide))


def _arrived(node: Node, g: Node | tuple[Node | None, ...] | None, wide: bool) -> Node | None:
    assert not isinstance(g, tuple)
    return g and converted(g, node.dtype.computes_as if wide else node.dtype)


# Ops whose rules are as right for wider numbers. What flows through them is rounded where it arrives, not on the way;
# products take it rounded, since they are what 16 bits are for. Ops with bodies pass on what their bodies do.
_ANY_WIDTH = frozenset((Kind.ELEMENTWISE, Kind.REDUCTION, Kind.CUMULATIVE, Kind.VIEW, Kind.INDEXED))


def _pass_on(
    node: Node, g: Node | tuple[Node | None, ...], cotangent: _Cotangents, active: Container[Node], widened: _Widened
) -> None:
    """Pass a node's cotangent on to those of its inputs that are active."""
    if node.op.kind is Kind.ITEM:
        assert isinstance(g, Node)
        cotangent.add_item(node.inputs[0], node.attrs["index"], g)
        return
    if node.op.vjp is None:
        raise UnsupportedError(
            f"{node.op.name} has no gradient rule",
            got=repr(node),
            where=node.loc,
            hint="keep it off the path from the parameters to the loss, or put gx.stop_gradient around it",
        )
    y, inputs, bodies = node, node.inputs, bool(sub_graphs(node))
    if node.op.kind in _ANY_WIDTH:
        assert isinstance(g, Node)
        y, inputs = widened[node], tuple(widened[i] for i in node.inputs)
        g = converted(g, y.dtype)
    elif isinstance(g, tuple):
        types = node.type.items  # type: ignore[union-attr]
        g = g if bodies else tuple(x and converted(x, t.dtype) for x, t in zip(g, types, strict=True))
    else:
        g = converted(g, node.dtype)
    attrs = dict(node.attrs)
    if bodies:
        attrs["wanted"] = tuple(i in active for i in node.inputs)
    gradients = node.op.vjp(g, y, *inputs, **attrs)
    if len(gradients) != len(inputs):
        raise _broken(node, f"{len(gradients)} gradients for {len(inputs)} inputs")
    for to, i, gradient in zip(node.inputs, inputs, gradients, strict=True):
        if gradient is None or to not in active:
            continue
        if gradient.type not in (_types_of_gradients(i.tensor_type) if bodies else (i.type,)):
            raise _broken(node, f"a {gradient.type} for a {i.type}")
        cotangent.add(to, gradient)


def _broken(node: Node, got: str) -> CompileError:
    return CompileError(
        f"the gradient rule of {node.op.name} gives each input its type", got=got, where=node.loc
    )
