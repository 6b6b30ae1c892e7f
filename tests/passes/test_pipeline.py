"""The order of passes, what is checked between them, what users can watch; and that `optimize` keeps meaning."""

from itertools import pairwise

import numpy as np
import pytest

from graphc import ops
from graphc.dataclass import replace
from graphc.errors import CompileError
from graphc.ir import Graph, Node, map_graphs
from graphc.passes import pipeline
from graphc.passes.cse import cse
from graphc.passes.dce import dce
from graphc.passes.differentiate import differentiate
from graphc.passes.fold import fold
from graphc.passes.pipeline import PASSES, Invariant, Pass, PassRecord, arrange, optimize
from graphc.passes.simplify import simplify
from graphc.settings import Check, Settings
from graphc.text import parse
from graphc.types import TensorType, float32, float64
from graphc.verify import verify
from tests.control_ops import with_body
from tests.fuzz.random_graphs import random_case, with_gradients
from tests.fuzz.stability import Expected, run
from tests.graphs import mlp_step, random_arrays, samples

ALL = Settings(check=Check.ALL)


def keeps_its_meaning(graph: Graph, inputs: list[np.ndarray], variables: list[np.ndarray]) -> Graph:
    optimized = optimize(graph, ALL)
    assert [i.type for i in optimized.inputs] == [i.type for i in graph.inputs]
    Expected(graph, inputs, variables).compare(run(optimized, inputs, variables))
    assert str(optimize(optimized, ALL)) == str(optimized), "not idempotent"
    return optimized


@pytest.mark.parametrize("name", samples())
def test_samples_keep_their_meaning(name):
    graph = samples()[name]
    keeps_its_meaning(graph, *random_arrays(graph))


@pytest.mark.parametrize("seed", range(150))
def test_random_graphs_keep_their_meaning(seed):
    case = random_case(seed)
    keeps_its_meaning(case.graph, case.inputs, case.variables)


@pytest.mark.parametrize("seed", range(60))
def test_gradients_keep_their_meaning(seed):
    case = with_gradients(random_case(seed, size=8), seed)
    if case is not None:
        keeps_its_meaning(case.graph, case.inputs, case.variables)


@pytest.mark.parametrize("change", [cse, fold, simplify, dce], ids=lambda change: change.__name__)
def test_each_pass_is_idempotent(change):
    for seed in range(20):
        once = map_graphs(random_case(seed).graph, change)
        verify(once)
        assert str(map_graphs(once, change)) == str(once)


def test_second_order_gradients_keep_their_meaning():
    x = ops.input(type=TensorType(float64, (3, 4)), name="x")
    w = ops.input(type=TensorType(float64, (4, 2)), name="w")
    h = ops.tanh(ops.dot_general(x, w, contract=((1,), (0,)), batch=((), ())))
    loss = ops.sum(ops.power(h, ops.full_like(h, 3)), axes=(0, 1))
    (first,) = differentiate([loss], [w], [ops.ones_like(loss)])
    assert first is not None
    second = differentiate([ops.sum(ops.multiply(first, first), axes=(0, 1))], [x, w], [ops.ones_like(loss)])
    graph = Graph((x, w), (), (), (loss, first, *(g for g in second if g is not None)))
    optimized = keeps_its_meaning(graph, *random_arrays(graph))
    assert not {"power", "log", "permute"} & {n.op.name for n in optimized.nodes}


def test_golden_training_step(golden):
    golden("passes/mlp_step.txt", f"{mlp_step()}\n\n{optimize(mlp_step(), ALL)}")


# The order


def test_the_order_follows_from_the_invariants():
    names = [p.name for p in arrange(PASSES)]
    assert sorted(names) == ["cse", "dce", "loops", "simplify"]
    assert arrange(PASSES[::-1]) != () and [p.name for p in arrange(PASSES[::-1])] == names


def test_invariants_that_no_order_provides():
    a, b = Invariant.SIMPLIFIED, Invariant.NO_DUPLICATES
    first = Pass(cse, needs=frozenset({a}), gives=frozenset({b}))
    second = Pass(pipeline.simplify, needs=frozenset({b}), gives=frozenset({a}))
    with pytest.raises(CompileError, match="no order"):
        arrange((first, second))


# Checks


def x_graph() -> Graph:
    return parse("graph(%x: float32[2]) {\n %0 = exp(%x)\n %1 = exp(%x)\n %2 = divide(%0, %1)\n return %2 }")


def with_pass(monkeypatch: pytest.MonkeyPatch, broken: Pass) -> None:
    passes = tuple(broken if p.name == "simplify" else p for p in PASSES)
    monkeypatch.setattr(pipeline, "PASSES", passes)


def test_a_pass_that_breaks_the_graph_is_named(monkeypatch):
    def simplify(graph: Graph) -> Graph:
        (output,) = graph.outputs
        return graph.replace(
            {output: Node(output.op, output.inputs, output.attrs, TensorType(float32, (9,)), None)}
        )

    with_pass(monkeypatch, replace(next(p for p in PASSES if p.name == "simplify"), run=simplify))
    with pytest.raises(CompileError, match="the pass simplify broke the graph: the type rule of divide"):
        optimize(x_graph(), ALL)
    optimize(x_graph(), Settings(check=Check.NONE))


def test_a_pass_that_breaks_its_declaration_is_named(monkeypatch):
    def simplify(graph: Graph) -> Graph:
        """Undoes cse."""
        (output,) = graph.outputs
        return graph.replace({output: ops.divide(*(ops.exp(*i.inputs) for i in output.inputs))})

    with_pass(monkeypatch, replace(next(p for p in PASSES if p.name == "simplify"), run=simplify))
    message = "the pass simplify declares, but does not see to it, that no two nodes compute the same thing"
    with pytest.raises(CompileError, match=message):
        optimize(x_graph(), ALL)


def test_a_pass_that_fails_is_named(monkeypatch):
    def simplify(graph: Graph) -> Graph:
        raise ZeroDivisionError

    with_pass(monkeypatch, replace(next(p for p in PASSES if p.name == "simplify"), run=simplify))
    with pytest.raises(ZeroDivisionError) as caught:
        optimize(x_graph(), Settings())
    assert "in the pass simplify" in caught.value.__notes__[0]


def test_a_malformed_graph_is_refused_where_asked_for():
    x = ops.input(type=TensorType(float32, ()), name="x")
    loose = Graph((), (), (), (ops.exp(x),))
    with pytest.raises(CompileError, match="not declared"):
        optimize(loose, Settings(check=Check.GRAPH))


# Watching


def test_an_observer_sees_every_pass():
    records: list[PassRecord] = []
    last = optimize(x_graph(), Settings(), records.append)
    assert [r.name for r in records] == ["loops", "cse", "simplify", "dce"]
    assert all(a.after is b.before for a, b in pairwise(records))
    assert records[-1].after is last and all(r.seconds >= 0 for r in records)


def test_dump_prints_what_changed(capsys):
    optimize(x_graph(), Settings(dump=frozenset({"passes"})))
    text = capsys.readouterr().err
    assert text.count("graph(") == 2
    assert "-- traced" in text and "-- cse" in text and "-- dce" not in text


def test_bodies_are_optimized():
    x = ops.input(type=TensorType(float32, (2,)), name="x")
    inner = ops.input(type=TensorType(float32, (2,)), name="inner")
    body = Graph((inner,), (), (), (ops.negative(ops.negative(inner)), ops.exp(inner), ops.exp(inner)))
    both = with_body(x, body=body)
    graph = optimize(Graph((x,), (), (), (ops.item(both, index=0),)), ALL)
    (changed,) = (n.attrs["body"] for n in graph.nodes if "body" in n.attrs)
    assert changed.outputs[0] is inner and changed.outputs[1] is changed.outputs[2]


def test_sources_keep_their_places():
    graph = parse(
        """graph(%unused: float32[2], %x: float32[2]) variables(@w: float32[2], @v: float32[]) {
          %0 = stop_gradient(@w)
          update @w = %0
          return %x, %x }"""
    )
    optimized = optimize(graph, ALL)
    assert optimized.inputs == graph.inputs and optimized.variables == graph.variables
    assert optimized.outputs == graph.outputs and optimized.updates == (None, None)
