"""Memory for time: a part of a program whose inner values are not kept for its gradient, but computed once more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import ops
from ..errors import CompileError
from ..evaluate import evaluate_graph
from ..hook import driver
from ..ir import Graph, Node
from ..op import Kind, Piece
from ..types import TensorType, TupleType
from .bodies import require_closed, substitute
from .declare import op


def _delay_type(x: TensorType, token: TensorType) -> TensorType:
    return x


# x, but not the same node: what is computed of it is computed once more, and not before there is a token.
@op(
    Kind.VIEW,
    _delay_type,
    vjp=lambda g, y, x, token: (g, None),
    pull=lambda index, x, token: (Piece(0, index),),
    inverse=lambda index, x, token: index,
    in_order=True,
)
def delay(x: np.ndarray, token: np.ndarray) -> np.ndarray:
    return x


def _checkpoint_type(*types: TensorType, body: Graph) -> TupleType:
    require_closed("checkpoint", "body", body, types)
    if not body.outputs:
        raise CompileError("the body of checkpoint gives something", got="nothing")
    return TupleType(tuple(o.tensor_type for o in body.outputs))


def _checkpoint_vjp(
    g: Sequence[Node | None], y: Node, *inputs: Node, wanted: Sequence[bool], body: Graph
) -> tuple[Node | None, ...]:
    """The body's gradients, on a copy of the body that waits for a cotangent."""
    given = [i for i, x in enumerate(g) if x is not None]
    cotangents = [ops.input(type=g[i].type, name=f"gradient{i}") for i in given]  # type: ignore[union-attr]
    wrt = [n for n, w in zip(body.inputs, wanted, strict=True) if w]
    found = driver().differentiate([body.outputs[i] for i in given], wrt, cotangents, wide=True)
    actual = [x for x in g if x is not None]
    waiting = [delay(i, actual[0]) for i in inputs]
    known = dict(zip((*body.inputs, *cotangents), (*waiting, *actual), strict=True))
    gradients = [n for n in found if n is not None]
    made = dict(zip(gradients, substitute(gradients, known), strict=True))
    of = {n: made[x] for n, x in zip(wrt, found, strict=True) if x is not None}
    return tuple(of.get(n) for n in body.inputs)


# checkpoint(*inputs) {body} → (*results): the body's, which for all that is no gradient is simply in its place.
@op(Kind.CONTROL, _checkpoint_type, _checkpoint_vjp)
def checkpoint(*arrays: np.ndarray, body: Graph) -> tuple[np.ndarray, ...]:
    return tuple(evaluate_graph(body, arrays)[0])
