"""Reverse mode itself: which nodes are visited, how gradients meet, what is said where a rule is missing.

That each op's rule is right is shown in `tests/contract/test_gradients.py`.
"""

from typing import Any

import numpy as np
import pytest

from graphc import ops
from graphc.errors import CompileError, Location, UnsupportedError
from graphc.evaluate import evaluate_graph
from graphc.ir import Graph, Node, located, topological_order
from graphc.op import Kind, Op
from graphc.passes.differentiate import _active_nodes, differentiate
from graphc.types import TensorType, TupleType, float32, float64, int64

F64 = TensorType(float64, ())


def _two_gradients(g: tuple[Node | None, Node | None], y: Node, a: Node, b: Node) -> tuple[Node, Node]:
    to_sum, to_product = (ops.zeros_like(a) if part is None else part for part in g)
    return (
        ops.add(to_sum, ops.multiply(to_product, b)),
        ops.add(to_sum, ops.multiply(to_product, a)),
    )


def _pair_type(a: TensorType, b: TensorType) -> TupleType:
    return TupleType((a, b))


sum_and_product = Op(
    "user_sum_and_product",
    Kind.CONTROL,
    infer=_pair_type,
    reference=lambda a, b: (a + b, a * b),
    vjp=_two_gradients,
)
without_rule = Op("user_without_rule", Kind.CONTROL, infer=lambda x: x, reference=lambda x: x)
with_wrong_rule = Op(
    "user_with_wrong_rule", Kind.CONTROL, infer=lambda x: x, vjp=lambda g, y, x: (ops.isnan(g),)
)


def x_of(type_: TensorType = F64, name: str = "x") -> Node:
    return ops.input(type=type_, name=name)


def value(node: Node | None, **inputs: float) -> float:
    assert node is not None
    sources = [n for n in topological_order([node]) if n.op is ops.input]
    arrays = [np.asarray(inputs[s.attrs["name"]], s.dtype.numpy) for s in sources]
    outputs, _ = evaluate_graph(Graph(tuple(sources), (), (), (node,)), arrays)
    return float(outputs[0])


def gradient(y: Node, *wrt: Node) -> list[Any]:
    return differentiate([y], list(wrt), [ops.ones_like(y)])


def test_gradients_that_meet_are_added():
    x = x_of()
    (g,) = gradient(ops.add(ops.multiply(x, x), ops.exp(x)), x)
    assert np.isclose(value(g, x=1.5), 3 + np.exp(1.5))


def test_powers_of_any_order():
    x = x_of()
    y = ops.multiply(ops.multiply(x, x), ops.sin(x))
    for expected in (
        lambda x: 2 * x * np.sin(x) + x * x * np.cos(x),
        lambda x: 2 * np.sin(x) + 4 * x * np.cos(x) - x * x * np.sin(x),
        lambda x: 6 * np.cos(x) - 6 * x * np.sin(x) - x * x * np.cos(x),
    ):
        (y,) = gradient(y, x)
        assert np.isclose(value(y, x=0.7), expected(0.7))


def test_forward_mode_is_the_gradient_of_the_gradient():
    x, tangent = x_of(), x_of(name="t")
    y = ops.exp(ops.sin(x))
    cotangent = x_of(name="c")
    (linear,) = differentiate([y], [x], [cotangent])
    assert linear is not None
    (jvp,) = differentiate([linear], [cotangent], [tangent])
    assert np.isclose(value(jvp, x=0.3, t=2.0, c=1.0), 2 * np.cos(0.3) * np.exp(np.sin(0.3)))


def test_several_outputs():
    x, y = x_of(), x_of(name="y")
    a, b = ops.multiply(x, y), ops.exp(y)
    g = differentiate([a, b, a], [x, y], [ops.full(c, F64) for c in (2.0, 3.0, 5.0)])
    assert value(g[0], x=1.0, y=2.0) == 14
    assert np.isclose(value(g[1], x=1.0, y=2.0), 7 + 3 * np.exp(2.0))


def test_inner_nodes_can_be_asked_for():
    x = x_of()
    inner = ops.multiply(x, x)
    y = ops.multiply(inner, inner)
    to_x, to_inner, to_y = gradient(y, x, inner, y)
    assert (value(to_x, x=3.0), value(to_inner, x=3.0), value(to_y, x=3.0)) == (108, 18, 1)


def test_what_is_not_reached_has_no_gradient():
    x, other = x_of(), x_of(name="other")
    integer = x_of(TensorType(int64, ()), "i")
    y = ops.multiply(x, ops.cast(integer, dtype=float64))
    assert [g is None for g in gradient(y, x, other, integer)] == [False, True, True]
    assert gradient(ops.stop_gradient(ops.exp(x)), x) == [None]
    assert gradient(ops.cast(ops.cast(x, dtype=int64), dtype=float64), x) == [None]


def test_only_the_path_is_visited():
    """An op without a rule does no harm beside the path."""
    x, other = x_of(), x_of(name="other")
    (g,) = gradient(ops.multiply(x, without_rule(other)), x)
    assert value(g, x=1.0, other=5.0) == 5


def test_a_missing_rule_names_the_op_and_the_line():
    x = x_of()
    with located(Location("model.py", 31)):
        y = without_rule(x)
    with pytest.raises(UnsupportedError, match="user_without_rule has no gradient rule") as caught:
        gradient(ops.exp(y), x)
    assert "model.py, line 31" in str(caught.value)


def test_a_wrong_rule_is_found():
    x = x_of()
    with pytest.raises(CompileError, match="gradient rule of user_with_wrong_rule"):
        gradient(with_wrong_rule(x), x)


def test_a_cotangent_has_its_outputs_type():
    x = x_of()
    with pytest.raises(CompileError, match="cotangent"):
        differentiate([ops.exp(x)], [x], [ops.full(1, TensorType(float32, ()))])


def test_several_results_of_one_op():
    x, y = x_of(), x_of(name="y")
    both = sum_and_product(x, y)
    total, product = ops.item(both, index=0), ops.item(both, index=1)
    g = gradient(ops.multiply(total, product), x, y)  # x²y + xy²
    assert [value(part, x=2.0, y=3.0) for part in g] == [2 * 2 * 3 + 9, 4 + 2 * 2 * 3]
    (only,) = gradient(product, x)
    assert value(only, x=2.0, y=3.0) == 3


def test_nodes_inherit_the_line():
    x = x_of()
    with located(Location("model.py", 8)):
        y = ops.exp(x)
    with located(Location("model.py", 9)):
        z = ops.sin(y)
        one = ops.ones_like(z)
    with located(Location("train.py", 1)):
        (g,) = differentiate([z], [x], [one])
    assert g is not None
    new = [n for n in topological_order([g]) if n not in topological_order([z, one])]
    assert {(n.op.name, n.loc.line) for n in new if n.loc} == {("cos", 9), ("multiply", 9), ("multiply", 8)}


def test_deep_graphs_need_no_recursion():
    x = x_of()
    y = x
    for _ in range(5000):
        y = ops.add(y, x)
    (g,) = gradient(y, x)
    assert value(g, x=1.0) == 5001


def test_what_no_gradient_passes_through_is_not_looked_at() -> None:
    """So that the steps of a loop in one trace each cost what the first one costs."""
    x = ops.input(type=TensorType(float32, (3,)), name="x")
    leaf = x
    for _ in range(100):
        leaf = ops.exp(leaf)
    leaf = ops.stop_gradient(leaf)
    loss = ops.sum(ops.multiply(leaf, leaf), axes=(0,))
    assert len(_active_nodes([loss], [leaf, x])) == 3
    of_leaf, of_x = differentiate([loss], [leaf, x], [ops.scalar_constant(1.0, float32)])
    assert of_leaf is not None and of_x is None
