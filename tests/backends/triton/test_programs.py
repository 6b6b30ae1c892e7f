"""Whole schedules: graphs through fusion, planning and Triton's interpreter, with variables, constants and errors."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from graphc import ops
from graphc.backends.triton.backend import BoundTritonProgram, TritonBackend
from graphc.backends.triton.interpret import Interpreter
from graphc.backends.triton.interpreted import interpreted_program
from graphc.backends.triton.listing import ptx_listing, triton_listing
from graphc.errors import GraphcIndexError, UnsupportedError
from graphc.ir import Graph, Literal
from graphc.passes.schedule import schedule
from graphc.settings import Settings
from graphc.storage import Storage
from graphc.types import int64, type_of
from tests import graphs

SAMPLES = graphs.samples()


def bound(
    graph: Graph, interpreter: Interpreter, *values: np.ndarray
) -> tuple[BoundTritonProgram, list[Storage]]:
    storages = [Storage(v, type_of(v)) for v in values]
    return interpreted_program(schedule(graph), interpreter).bind(storages), storages


@pytest.mark.parametrize("name", SAMPLES)
def test_graphs_compute_their_reference(name: str, interpreter: Interpreter) -> None:
    """Twice each: the second call finds the first one's memory."""
    graph = SAMPLES[name]
    inputs, variables = graphs.random_arrays(graph)
    run, storages = bound(graph, interpreter, *variables)
    for _ in range(2):
        expected = graphs.evaluate(graph, inputs, [s.array.copy() for s in storages])
        outputs = run(inputs)
        updated = [s for s, u in zip(storages, graph.updates, strict=True) if u is not None]
        for got, want in zip([*map(np.asarray, outputs), *(s.array for s in updated)], expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5)


def test_a_changed_variable_is_seen(interpreter: Interpreter) -> None:
    """Prepared work is redone when the host writes the variable it came from, and only then are old copies stale."""
    w, x = graphs.variable((4, 5)), graphs.source((3, 4))
    graph = Graph((x,), (w,), (None,), (graphs.matmul(x, ops.exp(w)),))
    run, (storage,) = bound(graph, interpreter, np.zeros((4, 5), np.float32))
    ones = np.ones((3, 4), np.float32)
    np.testing.assert_allclose(run([ones])[0], 4.0)
    storage.write(np.full((4, 5), np.log(2.0), np.float32))
    np.testing.assert_allclose(run([ones])[0], 8.0, rtol=1e-6)


def test_variables_swap(interpreter: Interpreter) -> None:
    a, b = graphs.variable((6,), name="a"), graphs.variable((6,), name="b")
    graph = Graph((), (a, b), (b, a), ())
    run, storages = bound(graph, interpreter, np.zeros(6, np.float32), np.ones(6, np.float32))
    run([])
    assert [s.array[0] for s in storages] == [1, 0]
    assert all(s.version for s in storages)


def test_constants_are_part_of_the_program(interpreter: Interpreter) -> None:
    x = graphs.source((3,))
    table = ops.constant(value=Literal(np.array([1, 2, 3], np.float32)))
    run, _ = bound(graphs.graph([x], [ops.multiply(x, table)]), interpreter)
    np.testing.assert_array_equal(run([np.full(3, 2, np.float32)])[0], [2, 4, 6])


def test_a_bad_index_raises_and_changes_nothing(interpreter: Interpreter) -> None:
    x, i, w = graphs.source((5, 3)), graphs.source((4,), int64, "index"), graphs.variable((4, 3))
    taken = ops.gather(x, i, axes=(0,))
    graph = Graph((x, i), (w,), (ops.add(w, taken),), (ops.sum(taken, axes=(1,)),))
    run, (storage,) = bound(graph, interpreter, np.zeros((4, 3), np.float32))
    ones = np.ones((5, 3), np.float32)
    for bad in ([0, 1, 5, 2], [0, -1, 2, 3]):
        with pytest.raises(GraphcIndexError, match="outside the axis"):
            run([ones, np.array(bad)])
    assert storage.version == 0 and not storage.array.any()
    run([ones, np.array([0, 1, 4, 2])])
    assert storage.version and (storage.array == 1).all()


def test_equal_inputs_give_equal_bits(interpreter: Interpreter) -> None:
    x = graphs.source((300, 70))
    run, _ = bound(graphs.graph([x], [ops.sum(x, axes=(0,))]), interpreter)
    array = np.random.default_rng(0).standard_normal((300, 70)).astype(np.float32)
    np.testing.assert_array_equal(run([array])[0], run([array])[0])


def test_listings_show_each_kernel_once() -> None:
    x, w = graphs.source((8, 8)), graphs.source((8, 8))
    planned = schedule(graphs.graph([x, w], [graphs.matmul(graphs.matmul(x, w), w)]))
    text = triton_listing(planned)
    assert len(planned.steps) == 2 and text.count("def contraction") == 1
    assert text.count("# step ") == 2
    assert ".visible .entry contraction" in ptx_listing(planned)


def test_without_the_driver_bindings_the_error_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(UnsupportedError, match="cuda-bindings is not installed"):
        TritonBackend().build(schedule(SAMPLES["softmax"]), Settings())


@pytest.mark.gpu
@pytest.mark.parametrize("name", SAMPLES)
def test_graphs_compute_their_reference_on_a_gpu(name: str) -> None:
    graph = SAMPLES[name]
    inputs, variables = graphs.random_arrays(graph)
    storages = [Storage(v, type_of(v)) for v in variables]
    expected = graphs.evaluate(graph, inputs, variables)
    outputs = TritonBackend().build(schedule(graph), Settings()).bind(storages)(inputs)
    updated = [s for s, u in zip(storages, graph.updates, strict=True) if u is not None]
    for got, want in zip([*map(np.asarray, outputs), *(s.array for s in updated)], expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5)
