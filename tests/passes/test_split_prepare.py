"""What is prepared and what is not; and that both halves together compute what the whole did."""

import numpy as np
import pytest

from graphc.evaluate import evaluate_graph
from graphc.ir import Graph
from graphc.passes.pipeline import optimize
from graphc.passes.split_prepare import split_prepare
from graphc.settings import Settings
from graphc.text import parse
from graphc.verify import verify
from tests.contract.values import assert_close
from tests.fuzz.random_graphs import random_case
from tests.graphs import mlp_step, random_arrays, samples


def run_in_halves(graph: Graph, inputs: list[np.ndarray], variables: list[np.ndarray]) -> list[np.ndarray]:
    prepare, main = split_prepare(graph)
    verify(prepare)
    verify(main)
    assert prepare.inputs == () and set(prepare.updates) <= {None}
    assert prepare.variables == main.variables == graph.variables
    assert main.inputs[: len(graph.inputs)] == graph.inputs
    assert [i.type for i in main.inputs[len(graph.inputs) :]] == [o.type for o in prepare.outputs]
    prepared, _ = evaluate_graph(prepare, [], variables)
    outputs, updates = evaluate_graph(main, [*inputs, *prepared], variables)
    return [*outputs, *(u for u in updates if u is not None)]


def agrees(graph: Graph, inputs: list[np.ndarray], variables: list[np.ndarray]) -> None:
    outputs, updates = evaluate_graph(graph, inputs, variables)
    expected = [*outputs, *(u for u in updates if u is not None)]
    for a, b in zip(run_in_halves(graph, inputs, variables), expected, strict=True):
        assert_close(np.asarray(a), np.asarray(b), 0, "halves")


@pytest.mark.parametrize("name", samples())
def test_samples(name):
    graph = samples()[name]
    agrees(graph, *random_arrays(graph))


@pytest.mark.parametrize("seed", range(80))
def test_random_graphs(seed):
    case = random_case(seed)
    agrees(case.graph, case.inputs, case.variables)
    agrees(optimize(case.graph, Settings()), case.inputs, case.variables)


def prepared(text: str) -> list[str]:
    """The ops that prepare keeps the results of."""
    prepare, _ = split_prepare(parse(text))
    return [o.op.name for o in prepare.outputs]


CASES = {
    "exp of a weight": ("%0 = exp(@w) %1 = multiply(%x, %0)", ["exp"]),
    "a cheap function of a weight": ("%0 = negative(@w) %1 = multiply(%x, %0)", ["negative"]),
    "only the last of a chain": ("%0 = exp(@w) %1 = sin(%0) %2 = multiply(%x, %1)", ["sin"]),
    "what the function updates": ("%0 = exp(@state) %1 = add(%x, %0) update @state = %1 ", []),
    "an input": ("%0 = exp(%x)", []),
    "a view": (
        "%0 = reshape(@w) {shape = (64, 32)} %1 = reshape(%x) {shape = (64, 32)} %2 = add(%0, %1)",
        [],
    ),
    "under a view": (
        "%e = exp(@w) %0 = reshape(%e) {shape = (64, 32)} %1 = reshape(%x) {shape = (64, 32)} %2 = add(%0, %1)",
        ["exp"],
    ),
    "a transposition": ("%0 = permute(@square) {axes = (1, 0)} %1 = multiply(%y, %0)", ["permute"]),
    "a join": (
        "%0 = concat(@w, @square) {axis = 0} %1 = concat(%x, %y) {axis = 0} %2 = add(%0, %1)",
        ["concat"],
    ),
    "a wider dtype": ("%0 = cast(@w) {dtype = float64} %1 = cast(%x) {dtype = float64} %2 = add(%0, %1)", []),
    "a sum": (
        "%0 = sum(@w) {axes = (0, 1)} %1 = broadcast(%0) {shape = (32, 64), dims = ()} %2 = add(%x, %1)",
        ["sum"],
    ),
    "a repeated sum": (
        """%0 = sum(@w) {axes = (1,)} %1 = broadcast(%0) {shape = (32, 64), dims = (0,)} %2 = negative(%1)
           %3 = add(%x, %2)""",
        ["sum"],
    ),
    "a table of sines": (
        """%0 = iota() {type = float32[32, 64], axis = 0} %1 = sin(%0) %2 = add(%x, %1)""",
        ["sin"],
    ),
    "positions": ("%0 = iota() {type = float32[32, 64], axis = 0} %1 = add(%x, %0)", []),
    "a small thing": (
        "%0 = exp(@rate) %1 = broadcast(%0) {shape = (32, 64), dims = ()} %2 = add(%x, %1)",
        [],
    ),
    "an output": ("%0 = exp(@w) %1 = exp(%0)", ["exp"]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_prepared(name):
    body, expected = CASES[name]
    outputs = [word for word in body.split() if word.startswith("%") and word[1:].isdigit()]
    text = f"""graph(%x: float32[32, 64], %y: float32[64, 64])
        variables(@w: float32[32, 64], @square: float32[64, 64], @state: float32[32, 64], @rate: float32[])
        {{ {body} return {outputs[-1]} }}"""
    assert prepared(text) == expected


def test_training_prepares_nothing():
    prepare, main = split_prepare(optimize(mlp_step(), Settings()))
    assert prepare.outputs == () and len(main.inputs) == 2
