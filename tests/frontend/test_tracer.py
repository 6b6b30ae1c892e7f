"""Frames: the graph as traced, lines of the user's code, and closed sub-graphs of control ops."""

from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.evaluate import evaluate_graph
from graphc.frontend.context import current_frame, within
from graphc.frontend.emit import as_tensor, emit_items
from graphc.frontend.tensor import Tensor, symbolic
from graphc.frontend.tracer import Body, Frame, FrameKind
from graphc.ir import Graph
from graphc.op import Kind, Op
from graphc.types import TupleType
from graphc.verify import verify

X = np.arange(3, dtype=np.float32)

# A control op for these tests only: run the body once.
run_once = Op(
    "user_run_once",
    Kind.CONTROL,
    infer=lambda *types, body: TupleType(tuple(o.tensor_type for o in body.outputs)),
    reference=lambda *arrays, body: tuple(evaluate_graph(body, arrays)[0]),
)


def once(function: Any, *args: Tensor) -> tuple[Tensor, ...]:
    """Call `function` in a frame of its own, as a control op's frontend does."""
    outer = current_frame()
    assert outer is not None
    inner = Frame(FrameKind.BODY, outer)

    def run() -> tuple[Any, Body]:
        params = [symbolic(inner.input(a.type, f"p{i}"), inner) for i, a in enumerate(args)]
        results = function(*params)
        return results, inner.close([inner.node(as_tensor(r)) for r in results])

    results, body = within(inner, run)
    inputs = [*args, *(symbolic(c, outer) for c in body.captured), *(v.value for v in body.variables)]
    found = emit_items(run_once, inputs, body=body.graph)
    for variable, value in zip(body.assigned, found[len(results) :], strict=True):
        variable.assign(value)
    return found[: len(results)]


def body_of(graph: Graph) -> Graph:
    (node,) = [n for n in graph.nodes if n.op is run_once]
    body = node.attrs["body"]
    assert isinstance(body, Graph)
    return body


def test_inputs_have_the_parameters_names() -> None:
    graph = gx.trace(lambda x, batch, *rest: x, X, {"a": X, "b": [X, 1]}, X, 2.0, X)
    assert [i.attrs["name"] for i in graph.inputs] == ["x", "batch['a']", "batch['b'][0]", "rest0", "rest2"]


def test_a_graph_is_typed_and_closed() -> None:
    graph = gx.trace(lambda x: (x + 1, x), X)
    verify(graph)
    assert [str(o.type) for o in graph.outputs] == ["float32[3]", "float32[3]"]
    assert graph.outputs[1] is graph.inputs[0]


def test_nodes_know_the_users_line() -> None:
    def f(x: gx.Tensor) -> gx.Tensor:
        y = gx.mean(x)
        return gx.exp(y)

    graph = gx.trace(f, X)
    lines = {n.op.name: n.loc.text for n in graph.nodes if n.loc is not None}
    assert lines["sum"] == lines["divide"] == "y = gx.mean(x)" and lines["exp"] == "return gx.exp(y)"
    assert all(n.loc.function == "f" for n in graph.nodes if n.loc is not None)


def test_our_own_frames_are_known_by_module_name() -> None:
    """A user's module that merely lies in a folder of ours, or whose name starts alike, is the user's."""
    code = compile("def f(x):\n    return x + 1\n", "/somewhere/graphc/frontend/mine.py", "exec")
    for name in ("graphc_models.mine", "mine"):
        namespace: dict[str, Any] = {"__name__": name}
        exec(code, namespace)
        (node,) = [n for n in gx.trace(namespace["f"], X).nodes if n.op.name == "add"]
        assert node.loc is not None and node.loc.line == 2


def test_gradients_inherit_the_forward_lines() -> None:
    def f(x: gx.Tensor) -> gx.Tensor:
        loss = gx.sum(gx.sin(x))
        return gx.gradients(loss, x)

    (cos,) = [n for n in gx.trace(f, X).nodes if n.op.name == "cos"]
    assert cos.loc is not None and cos.loc.text == "loss = gx.sum(gx.sin(x))"


def test_arrays_in_closures_are_copied_once() -> None:
    array = np.ones(3, np.float32)
    f = gx.compile(lambda x: x + array + array)
    assert len([n for n in gx.trace(f.function, X).nodes if n.op.name == "constant"]) == 1
    assert f(X).tolist() == [2, 3, 4]
    array[:] = 100
    assert f(X).tolist() == [2, 3, 4]


def test_tensors_in_closures_are_not_copied() -> None:
    tensor = gx.ones(3)
    (node,) = [n for n in gx.trace(lambda x: x + tensor, X).nodes if n.op.name == "constant"]
    assert np.shares_memory(node.attrs["value"].array, tensor.numpy())


def test_captured_values_become_inputs_of_a_body() -> None:
    tensor = gx.full((3,), 10.0)

    def f(x: gx.Tensor) -> gx.Tensor:
        y = x * 2
        return once(lambda p: (p + y + y + tensor,), x)[0]

    graph = gx.trace(f, X)
    verify(graph)
    assert len(body_of(graph).inputs) == 3  # p, y once, the tensor
    assert gx.compile(f)(X).tolist() == (X + 2 * X + 2 * X + 10).tolist()


def test_variables_become_inputs_and_carried_values_of_a_body() -> None:
    read, counted = gx.Variable(3.0), gx.Variable(0.0)

    def f(x: gx.Tensor) -> tuple[gx.Tensor, gx.Tensor]:
        counted.assign(counted + 1)

        def body(p: gx.Tensor) -> tuple[gx.Tensor, ...]:
            counted.assign(counted + 10)
            return (p * read + counted,)

        (y,) = once(body, x)
        return y, counted + 0.5

    graph = gx.trace(f, X)
    verify(graph)
    body = body_of(graph)
    assert (len(body.inputs), len(body.outputs), body.variables) == (3, 2, ())
    y, after = gx.compile(f)(X)
    assert y.tolist() == (3 * X + 11).tolist() and after.item() == 11.5
    assert counted.item() == 11 and read.item() == 3


def test_bodies_within_bodies() -> None:
    v = gx.Variable(1.0)

    def f(x: gx.Tensor) -> gx.Tensor:
        y = x + 1

        def inner(q: gx.Tensor) -> tuple[gx.Tensor, ...]:
            v.assign(v * 2)
            return (q + y + v,)

        (z,) = once(lambda p: once(inner, p), x)
        return z

    verify(gx.trace(f, X))
    assert gx.compile(f)(X).tolist() == (X + X + 1 + 2).tolist() and v.item() == 2


def test_a_bodys_tensor_does_not_leave_it() -> None:
    def f(x: gx.Tensor) -> gx.Tensor:
        kept: list[gx.Tensor] = []

        def body(p: gx.Tensor) -> tuple[gx.Tensor, ...]:
            kept.append(p * 2)
            return (p,)

        once(body, x)
        return x + kept[0]

    with pytest.raises(gx.TraceError, match="only inside"):
        gx.trace(f, X)


def test_gradients_inside_a_body_of_what_it_captures() -> None:
    def f(x: gx.Tensor) -> gx.Tensor:
        y = x * 2
        return once(lambda p: (gx.gradients(gx.sum(p * y * y), y),), x)[0]

    assert gx.compile(f)(X).tolist() == (2 * X * 2 * X).tolist()


def test_trace_inside_a_trace_is_an_error() -> None:
    with pytest.raises(gx.TraceError, match="a graph of its own"):
        gx.trace(lambda x: gx.trace(lambda y: y, X), X)
