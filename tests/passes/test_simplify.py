"""What simplification makes of small graphs, as text; and that rewriting is a single walk."""

import time

import numpy as np
import pytest

from graphc import ops
from graphc.errors import CompileError
from graphc.ir import Graph, Literal, Node
from graphc.passes.cse import cse
from graphc.passes.dce import dce
from graphc.passes.fold import GROWTH, fold
from graphc.passes.rewrite import Exactness, Rule, RuleSet, rewrite
from graphc.passes.simplify import simplify
from graphc.text import parse
from graphc.types import TensorType, float16, float32


def simplified(text: str) -> str:
    """The body of a simplified graph, without types."""
    lines = str(simplify(cse(parse(text)))).splitlines()[1:-1]
    return "\n".join(line.split(" : ")[0].strip() for line in lines)


CASES = {
    "the power rule's gradient": (
        """graph(%x: float32[3], %g: float32[3]) {
          %c = constant() {value = float32[](2.0)}
          %n = broadcast(%c) {shape = (3,), dims = ()}
          %o = constant() {value = float32[](1.0)}
          %one = broadcast(%o) {shape = (3,), dims = ()}
          %z = constant() {value = float32[](0.0)}
          %zero = broadcast(%z) {shape = (3,), dims = ()}
          %constant = equal(%n, %zero)
          %less = subtract(%n, %one)
          %exponent = select(%constant, %one, %less)
          %p = power(%x, %exponent)
          %s = multiply(%n, %p)
          %slope = select(%constant, %zero, %s)
          %r = multiply(%g, %slope)
          return %r }""",
        """%0 = constant() {value = float32[](2.0)}
%1 = broadcast(%0) {dims = (), shape = (3,)}
%2 = multiply(%1, %x)
%3 = multiply(%g, %2)
return %3""",
    ),
    "the gradient of a weight": (
        """graph(%x: float32[5, 3], %g: float32[5, 4]) {
          %0 = permute(%x) {axes = (1, 0)}
          %1 = dot_general(%0, %g) {contract = ((1,), (0,)), batch = ((), ())}
          %2 = permute(%1) {axes = (1, 0)}
          return %2 }""",
        """%0 = dot_general(%g, %x) {batch = ((), ()), contract = ((0,), (0,))}
return %0""",
    ),
    "a mask that is known": (
        """graph(%x: float32[5]) {
          %0 = iota() {type = int64[5], axis = 0}
          %1 = less(%0, %0)
          %2 = exp(%x)
          %3 = select(%1, %2, %x)
          return %3 }""",
        "return %x",
    ),
    "nothing to compute": (
        """graph(%x: float32[0, 3]) {
          %0 = exp(%x)
          %1 = sum(%0) {axes = (0,)}
          return %1, %0 }""",
        """%0 = constant() {value = float32[](0.0)}
%1 = broadcast(%0) {dims = (), shape = (3,)}
%2 = broadcast(%0) {dims = (), shape = (0, 3)}
return %1, %2""",
    ),
    "a float plus zero stays": (
        """graph(%x: float32[], %i: int32[]) {
          %0 = constant() {value = float32[](0.0)}
          %1 = constant() {value = int32[](0)}
          %2 = add(%x, %0)
          %3 = add(%i, %1)
          %4 = multiply(%x, %0)
          %5 = subtract(%x, %x)
          return %2, %3, %4, %5 }""",
        """%0 = constant() {value = float32[](0.0)}
%1 = add(%x, %0)
%2 = multiply(%x, %0)
%3 = subtract(%x, %x)
return %1, %i, %2, %3""",
    ),
    "a third is no power of two": (
        """graph(%x: float32[]) {
          %0 = constant() {value = float32[](3.0)}
          %1 = constant() {value = float32[](-8.0)}
          %2 = divide(%x, %0)
          %3 = divide(%x, %1)
          return %2, %3 }""",
        """%0 = constant() {value = float32[](3.0)}
%1 = divide(%x, %0)
%2 = constant() {value = float32[](-0.125)}
%3 = multiply(%x, %2)
return %1, %3""",
    ),
    "rounding detours stay": (
        """graph(%x: float32[], %i: int32[]) {
          %0 = cast(%x) {dtype = float16}
          %1 = cast(%0) {dtype = float32}
          %2 = cast(%i) {dtype = float32}
          %3 = cast(%2) {dtype = int32}
          return %1, %3 }""",
        """%0 = cast(%x) {dtype = float16}
%1 = cast(%0) {dtype = float32}
%2 = cast(%i) {dtype = float32}
%3 = cast(%2) {dtype = int32}
return %1, %3""",
    ),
    "saturation is not wrapping": (
        """graph(%i: uint8[]) {
          %0 = cast(%i) {dtype = float32}
          %1 = cast(%0) {dtype = int8}
          %2 = cast(%0) {dtype = int16}
          return %1, %2 }""",
        """%0 = cast(%i) {dtype = float32}
%1 = cast(%0) {dtype = int8}
%2 = cast(%i) {dtype = int16}
return %1, %2""",
    ),
    "broadcasts come last": (
        """graph(%x: float32[3]) {
          %0 = broadcast(%x) {shape = (2, 3), dims = (1,)}
          %1 = constant() {value = float32[](2.5)}
          %2 = broadcast(%1) {shape = (2, 3), dims = ()}
          %3 = multiply(%0, %2)
          %4 = exp(%3)
          %5 = max(%4) {axes = (0,)}
          return %5 }""",
        """%0 = constant() {value = float32[](2.5)}
%1 = broadcast(%0) {dims = (), shape = (3,)}
%2 = multiply(%x, %1)
%3 = exp(%2)
return %3""",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_simplified(name):
    before, after = CASES[name]
    assert simplified(before) == after


# The engine


def chain(length: int) -> Graph:
    x = ops.input(type=TensorType(float32, (4,)), name="x")
    y = x
    for i in range(length):
        y = ops.negative(y) if i % 3 else ops.exp(ops.add(y, x))
    return Graph((x,), (), (), (y,))


def test_deep_graphs_need_no_recursion():
    assert len(simplify(chain(6000)).nodes) == 1 + 2 * 2000


def test_rules_that_go_round_are_found():
    def turn(node: Node) -> Node:
        return ops.cos(*node.inputs) if node.op is ops.sin else ops.sin(*node.inputs)

    rules = RuleSet([Rule("turn", (ops.sin, ops.cos), turn, Exactness.BITWISE, list)])
    x = ops.input(type=TensorType(float32, (4,)), name="x")
    with pytest.raises(CompileError, match="does not come to an end"):
        rewrite(Graph((x,), (), (), (ops.sin(x),)), rules)


def test_rules_that_only_grow_are_found():
    rules = RuleSet(
        [Rule("grow", (ops.sin,), lambda n: ops.sin(ops.cos(*n.inputs)), Exactness.BITWISE, list)]
    )
    x = ops.input(type=TensorType(float32, (4,)), name="x")
    with pytest.raises(CompileError, match="does not come to an end"):
        rewrite(Graph((x,), (), (), (ops.sin(x),)), rules)


def test_a_rule_that_changes_the_type_is_named():
    rules = RuleSet(
        [Rule("cut", (ops.sin,), lambda n: ops.sum(*n.inputs, axes=(0,)), Exactness.BITWISE, list)]
    )
    x = ops.input(type=TensorType(float32, (4,)), name="x")
    with pytest.raises(CompileError, match="<rule cut> changes the type"):
        rewrite(Graph((x,), (), (), (ops.sin(x),)), rules)


# Common subexpressions, dead code, folding


def nodes_after_cse(*outputs: Node) -> int:
    inputs = {n for o in outputs for n in Graph((), (), (), (o,)).nodes if n.op is ops.input}
    return sum(n.op is not ops.input for n in cse(Graph(tuple(inputs), (), (), outputs)).nodes)


def test_cse_merges_equal_work():
    x, y = (ops.input(type=TensorType(float32, (4,)), name="x") for _ in range(2))
    assert nodes_after_cse(ops.exp(ops.sin(x)), ops.exp(ops.sin(x))) == 2
    assert nodes_after_cse(ops.exp(x), ops.exp(y)) == 2
    assert nodes_after_cse(ops.sum(x, axes=(0,)), ops.max(x, axes=(0,)), ops.sum(x, axes=(0,))) == 2


def test_cse_tells_constants_apart():
    values = [
        np.float32(0.0),
        np.float32(-0.0),
        np.float64(0.0),
        np.int32(0),
        np.float32(np.nan),
        np.float32(np.nan),
    ]
    assert nodes_after_cse(*(ops.constant(value=Literal(np.asarray(v))) for v in values)) == 5


@pytest.mark.parametrize("op", [ops.add, ops.subtract], ids=str)
def test_cse_knows_what_commutes(op):
    x, y = (ops.input(type=TensorType(float32, (4,)), name="x") for _ in range(2))
    assert nodes_after_cse(op(x, y), op(y, x)) == (1 if op is ops.add else 2)


def test_dce_drops_updates_that_change_nothing():
    w, v = (ops.variable(type=TensorType(float32, (4,)), name="w") for _ in range(2))
    graph = dce(Graph((), (w, v), (w, w), ()))
    assert graph.variables == (w, v) and graph.updates == (None, w)
    assert dce(graph) is graph


def test_fold_does_not_grow():
    column = ops.array_constant(np.arange(1000, dtype=np.float32).reshape(1000, 1))
    row = ops.array_constant(np.arange(GROWTH // 2000, dtype=np.float32).reshape(1, -1))
    product = ops.dot_general(column, row, contract=((1,), (0,)), batch=((), ()))
    (kept,) = fold(Graph((), (), (), (product,))).outputs
    assert kept.op is ops.dot_general
    (folded,) = fold(Graph((), (), (), (ops.permute(column, axes=(1, 0)),))).outputs
    assert folded.op is ops.constant


def test_fold_leaves_a_bad_index_to_the_run():
    x, i = ops.array_constant(np.arange(3.0)), ops.array_constant(np.array([7]))
    (kept,) = fold(Graph((), (), (), (ops.gather(x, i, axes=(0,)),))).outputs
    assert kept.op is ops.gather


def test_fold_rounds_as_16_bit_floats_do():
    third = ops.scalar_constant(1 / 3, float16)
    (folded,) = fold(Graph((), (), (), (ops.multiply(third, third),))).outputs
    assert folded.attrs["value"].array == np.float16(np.float32(np.float16(1 / 3)) ** 2)


def test_time_is_linear():
    def seconds(length: int) -> float:
        graph, start = chain(length), time.perf_counter()
        simplify(graph)
        return time.perf_counter() - start

    seconds(300)
    assert min(seconds(6000) for _ in range(3)) < 40 * min(seconds(600) for _ in range(3))
