"""Ops for tests: one with attrs of any kind, and one with a body, whose results are the body's."""

from graphc.ir import Graph
from graphc.op import Kind, Op
from graphc.ops.rules import no_gradient
from graphc.types import TensorType, TupleType


def _as_given(x: TensorType, **attrs: object) -> TensorType:
    return x


def _body_results(x: TensorType, body: Graph) -> TupleType:
    return TupleType(tuple(o.tensor_type for o in body.outputs))


annotated = Op("user_annotated", Kind.CONTROL, infer=_as_given, vjp=no_gradient)
with_body = Op("user_with_body", Kind.CONTROL, infer=_body_results, vjp=no_gradient)
