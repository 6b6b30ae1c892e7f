"""Each way in which a graph can be broken is found, and the message shows the place."""

from types import MappingProxyType

import pytest

from graphc import ops
from graphc.errors import CompileError, Location
from graphc.ir import Graph, Node
from graphc.op import Op
from graphc.types import TensorType, Type, float32, float64
from graphc.verify import verify
from tests.control_ops import with_body
from tests.fuzz.random_graphs import random_case
from tests.graphs import samples

F32 = TensorType(float32, (2,))
HERE = Location("model.py", 5)


def x_of(type_: TensorType = F32) -> Node:
    return ops.input(type=type_, name="x")


def forged(op: Op, *inputs: Node, type_: Type = F32, **attrs: object) -> Node:
    """A node made without its op's type rule."""
    return Node(op, inputs, MappingProxyType(attrs), type_, HERE)


def broken(graph: Graph, rule: str) -> str:
    with pytest.raises(CompileError, match=rule) as caught:
        verify(graph)
    return str(caught.value)


@pytest.mark.parametrize("name", samples())
def test_samples_are_well_formed(name):
    verify(samples()[name])


@pytest.mark.parametrize("seed", range(20))
def test_random_graphs_are_well_formed(seed):
    verify(random_case(seed).graph)


def test_a_wrong_type():
    x = x_of()
    wrong = forged(ops.exp, x, type_=TensorType(float64, (2,)))
    text = broken(Graph((x,), (), (), (ops.sin(wrong),)), r"the type rule of exp gives float32\[2\]")
    assert "> %0 = exp(%x) : float64[2]" in text and "model.py" in text


def test_inputs_that_the_rule_refuses():
    x = x_of()
    other = x_of(TensorType(float32, (3,)))
    broken(Graph((x, other), (), (), (forged(ops.add, x, other),)), "type rule of add refuses")
    broken(Graph((x,), (), (), (forged(ops.add, x),)), "add has other inputs or attrs")
    broken(Graph((x,), (), (), (forged(ops.exp, x, axes=(0,)),)), "exp has other inputs or attrs")


def test_a_source_that_is_not_declared():
    x, y = x_of(), x_of()
    broken(Graph((x,), (), (), (ops.add(x, y),)), "used but not declared")
    verify(Graph((), (), (), (ops.scalar_constant(1.0, float32),)))


def test_a_source_that_is_declared_twice():
    x, w = x_of(), ops.variable(type=F32, name="w")
    broken(Graph((x, x), (), (), (x,)), "declared twice")
    broken(Graph((w,), (w,), (None,), (w,)), "declared twice")


def test_a_source_that_is_computed():
    x = x_of()
    broken(Graph((x, ops.exp(x)), (), (), (x,)), "only an input or a variable")


def test_a_cycle():
    x = x_of()
    first = forged(ops.exp, x)
    second = ops.sin(first)
    object.__setattr__(first, "inputs", (second,))
    broken(Graph((x,), (), (), (second,)), "depends on itself")


def test_an_update_of_another_type():
    x, w = x_of(), ops.variable(type=TensorType(float32, (3,)), name="w")
    broken(Graph((x,), (w,), (x,), ()), r"float32\[3\] variable is updated by a float32\[2\]")


def test_tuples_are_only_for_item():
    x = x_of()
    inner = x_of()
    both = with_body(x, body=Graph((inner,), (), (), (inner, ops.exp(inner))))
    verify(Graph((x,), (), (), (ops.item(both, index=1),)))
    broken(Graph((x,), (), (), (both,)), "a result of a graph is a tensor")
    broken(Graph((x,), (), (), (forged(ops.exp, both),)), "only `item` consumes a tuple")


def test_bodies_are_verified():
    x, inner = x_of(), x_of()
    wrong = forged(ops.exp, inner, type_=TensorType(float64, (2,)))
    both = with_body(x, body=Graph((inner,), (), (), (wrong,)))
    broken(Graph((x,), (), (), (ops.item(both, index=0),)), "the type rule of exp")


def test_bodies_are_closed():
    x, inner = x_of(), x_of()
    outside = ops.exp(x)
    body = Graph((inner,), (), (), (ops.add(inner, outside),))
    both = with_body(x, body=body)
    broken(Graph((x,), (), (), (ops.item(both, index=0), outside)), "used but not declared|a body is closed")
    constant = ops.full(1.0, F32)
    shared = Graph((inner,), (), (), (ops.add(inner, constant),))
    both = with_body(x, body=shared)
    broken(Graph((x,), (), (), (ops.item(both, index=0), constant)), "a body is closed")
