"""Graphs survive being printed and parsed; hashes see structure and nothing else; errors say where."""

import math
import struct

import numpy as np
import pytest

from graphc import ops
from graphc.errors import CompileError, Location, ParseError
from graphc.ir import Graph, Literal, Node, located
from graphc.text import attrs_key, canonical_hash, constants_of, parse, print_graph, window
from graphc.types import TensorType, bfloat16, bool_, float16, float32, float64, int64, uint8
from tests.control_ops import annotated, with_body
from tests.fuzz.random_graphs import random_case
from tests.graphs import samples


def x_of(*shape: int, name: str = "x") -> Node:
    return ops.input(type=TensorType(float32, shape), name=name)


def survives(graph: Graph) -> Graph:
    text = print_graph(graph)
    again = parse(text, constants_of(graph))
    assert print_graph(again) == text
    assert canonical_hash(again) == canonical_hash(graph)
    return again


@pytest.mark.parametrize("name", samples())
def test_round_trip_of_samples(name):
    survives(samples()[name])


@pytest.mark.parametrize("seed", range(60))
def test_round_trip_of_random_graphs(seed):
    survives(random_case(seed).graph)


def annotated_graph(value: object) -> Graph:
    x = x_of(2)
    return Graph((x,), (), (), (annotated(x, value=value),))


ODD_NAN = struct.unpack("<d", (0x7FF8000000000001).to_bytes(8, "little"))[0]
ATTRS = [
    0, -7, 1 << 70, True, False, None, 1.0, -0.0, 0.1, 1e300, 5e-324, math.inf, -math.inf, math.nan, -math.nan, ODD_NAN,
    "", 'say "hi" \\ \n #1 {é}', (), (1,), ((1,), (0, 2.5)), ("a", (True,)), float32, bool_, TensorType(int64, ()),
    TensorType(bfloat16, (3, 4)), (TensorType(uint8, (0,)), float64),
]  # fmt: skip


@pytest.mark.parametrize("value", ATTRS, ids=repr)
def test_attrs_are_exact(value):
    (node,) = survives(annotated_graph(value)).outputs
    assert attrs_key(node.attrs) == attrs_key({"value": value})
    assert type(node.attrs["value"]) is type(value)


def test_attrs_that_python_finds_equal_differ():
    different = [0, False, 0.0, -0.0, None, "0", (0,), (False,), ((),), ()]
    assert len({canonical_hash(annotated_graph(v)) for v in different}) == len(different)


def test_an_attr_of_another_kind_is_an_error():
    with pytest.raises(CompileError, match="attr"):
        print_graph(annotated_graph({1, 2}))


LITERALS = [
    np.float32(0.1), np.float32(-0.0), np.float32(np.inf), np.float64(1 / 3), np.float16(65504), np.int64(-(1 << 63)),
    np.uint8(255), np.bool_(True), np.array([], np.float32), np.zeros((2, 0, 3), np.int64),
    np.array([[1.5, np.nan], [-np.inf, 1e-45]], np.float32), np.array([True, False]),
    np.array([0.1, -0.0, 3.0, 1e38, 1 / 3], float64.numpy).astype(bfloat16.numpy), np.arange(17, dtype=np.int64),
    np.array(0x7FC00001, np.uint32).view(np.float32), np.array(0xFFC1, np.uint16).view(bfloat16.numpy),
]  # fmt: skip


@pytest.mark.parametrize("array", LITERALS, ids=lambda a: f"{a.dtype}{list(a.shape)}")
def test_literals_are_exact(array):
    array = np.asarray(array)
    (node,) = survives(Graph((), (), (), (ops.constant(value=Literal(array)),))).outputs
    found = node.attrs["value"].array
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())


@pytest.mark.parametrize("dtype", [float16, bfloat16, float32, float64], ids=str)
def test_random_bits_are_exact(dtype):
    bits = np.random.default_rng(0).integers(0, 256, (200, dtype.itemsize), np.uint8)
    for row in bits:
        literal = Literal(row.view(dtype.numpy).reshape(()))
        (node,) = survives(Graph((), (), (), (ops.constant(value=literal),))).outputs
        assert node.attrs["value"] == literal


def test_names_of_all_kinds():
    names = ["x", "x", "0", "", "a b", "layers.0.weight", "x'2", 'q"', "ünïcode", "true", "graph"]
    inputs = tuple(x_of(2, name=n) for n in names)
    variables = tuple(ops.variable(type=TensorType(float32, (2,)), name=n) for n in names)
    total = inputs[0]
    for n in (*inputs[1:], *variables):
        total = ops.add(total, n)
    again = survives(Graph(inputs, variables, (None, total) + (None,) * (len(names) - 2), (total, inputs[3])))
    assert [i.attrs["name"] for i in again.inputs] == names
    assert [v.attrs["name"] for v in again.variables] == names
    assert again.updates[0] is None and again.updates[1] is again.outputs[0]


def test_bodies_are_nested_blocks(golden):
    with located(Location("/home/me/model.py", 7)):
        inner = x_of(2)
        body = Graph((inner,), (), (), (ops.exp(inner), ops.array_constant(np.arange(20))))
        outer = x_of(2)
        both = with_body(outer, body=body)
        graph = Graph((outer,), (), (), (ops.item(both, index=0), ops.item(both, index=1)))
    golden("text/body.txt", str(survives(graph)))
    assert list(constants_of(graph)) == [Literal(np.arange(20)).digest[:16]]


def test_user_lines_are_comments():
    with located(Location("/home/me/model.py", 12)):
        x = x_of(2)
        graph = Graph((x,), (), (), (ops.exp(x),))
    (node,) = survives(graph).outputs
    assert node.loc == Location("model.py", 12)
    assert "# model.py:12" not in print_graph(graph, lines=False)


def test_hash_ignores_names_lines_and_history():
    def build(name: str, line: int, detour: bool) -> Graph:
        with located(Location("f.py", line)):
            x, w = x_of(2, name=name), ops.variable(type=TensorType(float32, (2,)), name=name)
            if detour:
                ops.exp(w)
                b, a = ops.cos(w), ops.sin(x)
            else:
                a, b = ops.sin(x), ops.cos(w)
            return Graph((x,), (w,), (b,), (ops.add(a, b),))

    assert canonical_hash(build("x", 1, False)) == canonical_hash(build("y", 2, True))


def test_hash_sees_structure():
    x, y, w = x_of(2), x_of(2), ops.variable(type=TensorType(float32, (2,)), name="w")
    once = ops.exp(x)
    graphs = [
        Graph((x,), (), (), (once,)),
        Graph((x,), (), (), (once, once)),
        Graph((x,), (), (), (once, ops.exp(x))),
        Graph((x, y), (), (), (once,)),
        Graph((y, x), (), (), (once,)),
        Graph((x,), (w,), (None,), (once,)),
        Graph((x,), (w,), (once,), ()),
        Graph((x, y), (), (), (ops.subtract(x, y),)),
        Graph((x, y), (), (), (ops.subtract(y, x),)),
    ]
    assert len({canonical_hash(g) for g in graphs}) == len(graphs)


def test_hash_distinguishes_large_constants():
    a, b = np.zeros(100), np.zeros(100)
    b[99] = -0.0
    hashes = {canonical_hash(Graph((), (), (), (ops.array_constant(c),))) for c in (a, b)}
    assert len(hashes) == 2


def test_hand_written_text():
    graph = parse(
        """
        graph(%x: float32[2, 3])    # a comment
          variables(@w: float32[3], @unread: float32[])
        {
          # another comment: 12 things
          %row = broadcast(@w) {shape = (2, 3), dims = (1,)}     # model.py:3
          %y = multiply(%x, %row)
          %z = sum(%y) {axes = (0,)} : float32[3]
          update @w = %z
          return %y, %x
        }"""
    )
    assert [n.op.name for n in graph.nodes][-3:] == ["broadcast", "multiply", "sum"]
    assert graph.outputs[0].inputs[1].loc == Location("model.py", 3)
    assert graph.outputs[0].loc is None
    assert graph.updates[0] is not None and graph.updates[1] is None


HEAD = "graph(%x: float32[2]) variables(@w: float32[3]) {\n"
BAD = [
    ("graph", "expected '('", 1, 6),
    ("graph() {\n return $}", "means nothing", 2, 9),
    ("graph(%x: float3[2]) { return }", "dtype", 1, 11),
    ("graph(%x: float32[2], %x: float32[2]) { return }", "twice", 1, 23),
    ("graph(@x: float32[2]) { return }", "starts with %", 1, 7),
    (HEAD + "  %0 = exp(%y)\n  return %0\n}", "%y is not defined", 2, 12),
    (HEAD + "  %0 = exp(%x)\n  %0 = exp(%x)\n  return %0\n}", "twice", 3, 3),
    (HEAD + "  %0 = nothing(%x)\n  return %0\n}", "no op named nothing", 2, 8),
    (HEAD + "  %0 = exp(%x, %x)\n  return %0\n}", "exp refuses", 2, 8),
    (HEAD + "  %0 = add(%x, @w)\n  return %0\n}", "equal shapes", 2, 8),
    (HEAD + "  %0 = exp(%x) : float32[3]\n  return %0\n}", "type rule of exp says", 2, 16),
    (HEAD + "  %0 = sum(%x) {axes = 0,,}\n  return %0\n}", "expected word", 2, 26),
    (HEAD + "  %0 = sum(%x) {axes = wrong}\n  return %0\n}", "no value", 2, 24),
    (HEAD + "  update @w = %x\n  return\n}", "can't take", 2, 15),
    (HEAD + "  update %x = %x\n  return\n}", "only a variable", 2, 10),
    (HEAD + "  return %x", "expected '}'", 2, 12),
    (HEAD + "  return %x } }", "expected end", 2, 15),
    ("graph() {\n %0 = constant() {value = float32[2](1.0)}\n return}", "2 elements, not 1", 2, 37),
    ("graph() {\n %0 = constant() {value = uint8[](256)}\n return}", "no uint8", 2, 35),
    ("graph() {\n %0 = constant() {value = int64[](1.5)}\n return}", "no int64", 2, 35),
    ("graph() {\n %0 = constant() {value = bool[](1)}\n return}", "no bool", 2, 34),
    ("graph() {\n %0 = constant() {value = float32[20] sha256:0123}\n return}", "lacks", 2, 39),
]


@pytest.mark.parametrize("text, rule, line, column", BAD, ids=[rule for _, rule, _, _ in BAD])
def test_errors_say_where(text, rule, line, column):
    with pytest.raises(ParseError, match=r"line \d+, column \d+") as caught:
        parse(text)
    assert rule in str(caught.value)
    assert (caught.value.line, caught.value.column) == (line, column), str(caught.value)


def test_a_wrong_constant_is_refused():
    graph = Graph((), (), (), (ops.array_constant(np.arange(20)),))
    table = {name: array + 1 for name, array in constants_of(graph).items()}
    with pytest.raises(ParseError, match="another"):
        parse(str(graph), table)


def test_window_shows_the_neighbours():
    x = x_of(2)
    chain = [x]
    for _ in range(10):
        chain.append(ops.exp(chain[-1]))
    text = window(Graph((x,), (), (), (chain[-1],)), chain[5], radius=1).splitlines()
    assert [line.split(" =")[0] for line in text] == ["  %3", "> %4", "  %5"]
