"""Control ops on every backend, and what their type rules refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphc.errors import CompileError, UnsupportedError
from graphc.ir import Graph, Node
from graphc.ops.branches import branches_of
from graphc.passes.pipeline import optimize
from graphc.settings import Check, Settings
from graphc.text import canonical_hash, parse
from graphc.types import float32
from graphc.verify import verify
from tests.contract.backends import BACKENDS, reason_lacking, run_on
from tests.contract.control import CONTROL, SCANS, SWITCHES, WHILES, ControlSample


@pytest.mark.parametrize("name", CONTROL)
@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_give_what_was_computed_by_hand(backend: str, name: str) -> None:
    for sample in CONTROL[name]:
        graph = sample.graph()
        if reason_lacking(backend, name, float32):
            with pytest.raises(UnsupportedError):
                run_on(backend, graph, sample.arrays)
            continue
        for which in (graph, optimize(graph, Settings(check=Check.ALL))):
            for got, want in zip(run_on(backend, which, sample.arrays), sample.expected, strict=True):
                np.testing.assert_array_equal(got, want, err_msg=f"{backend}: {sample}")


@pytest.mark.parametrize("sample", [s for samples in CONTROL.values() for s in samples], ids=str)
def test_text_says_all(sample: ControlSample) -> None:
    graph = sample.graph()
    verify(graph)
    again = parse(str(graph))
    assert str(again) == str(graph) and canonical_hash(again) == canonical_hash(graph)


def test_networkx_has_the_bodies() -> None:
    (attrs,) = [a for _, a in SCANS[0].graph().to_networkx().nodes(data=True) if a["op"] == "scan"]
    assert attrs["attrs"]["body"].to_networkx().number_of_nodes() == 8


def node_of(sample: ControlSample) -> Node:
    return sample.graph().outputs[0].inputs[0]


def test_the_order_of_branches_is_not_that_of_their_names() -> None:
    node = node_of(SWITCHES[0])
    graphs = branches_of(node.attrs)
    assert len(graphs) == 3 and graphs[2] is node.attrs["branch2"]


def without_an_input(graph: Graph) -> Graph:
    return Graph(graph.inputs[1:], (), (), graph.outputs)


def turned(graph: Graph) -> Graph:
    return Graph(graph.inputs, (), (), graph.outputs[::-1])


REFUSED: list[tuple[str, ControlSample, Callable[[dict[str, Any]], dict[str, Any]]]] = [
    ("takes what", SCANS[0], lambda a: {"body": without_an_input(a["body"])}),
    ("slices", SCANS[0], lambda a: {"length": 2}),
    ("slices", SCANS[0], lambda a: {"length": -1}),
    ("int64", SCANS[0], lambda a: {"counted": True}),
    ("type that it takes", WHILES[0], lambda a: {"body": a["cond"]}),
    ("one bool", WHILES[0], lambda a: {"cond": a["body"]}),
    ("max_steps", WHILES[2], lambda a: {"max_steps": None}),
    ("0 or more", WHILES[2], lambda a: {"max_steps": -1}),
    ("consts and carries", WHILES[0], lambda a: {"consts": 0}),
    ("same types", SWITCHES[0], lambda a: {"branch1": turned(a["branch1"])}),
    ("numbered", SWITCHES[0], lambda a: {"branch7": a["branch1"]}),
    ("takes what", SWITCHES[0], lambda a: {"branch0": without_an_input(a["branch0"])}),
]  # fmt: skip


@pytest.mark.parametrize("rule, sample, change", REFUSED, ids=[f"{i}-{r[0]}" for i, r in enumerate(REFUSED)])
def test_refused(rule: str, sample: ControlSample, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    node = node_of(sample)
    attrs = dict(node.attrs)
    with pytest.raises(CompileError, match=rule):
        node.op(*node.inputs, **(attrs | change(attrs)))
