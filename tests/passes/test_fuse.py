"""Fusion keeps every graph's meaning and makes the kernels that it promises."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gx
from graphc import nn, ops
from graphc.ir import Graph, Node
from graphc.kernel import KernelKind
from graphc.passes.fuse import FusedKernel, fuse
from graphc.passes.pipeline import optimize
from graphc.settings import Settings
from tests import graphs
from tests.kernel_interpreter import run_kernel

SAMPLES = graphs.samples()


def run_fused(
    graph: Graph, kernels: tuple[FusedKernel, ...], inputs: list, variables: list
) -> list[np.ndarray]:
    """The results, with every node that is stored in an array of its own."""
    arrays = {n: np.ascontiguousarray(a).reshape(-1) for n, a in zip(graph.inputs, inputs, strict=True)}
    arrays |= {n: a.reshape(-1) for n, a in zip(graph.variables, variables, strict=True)}
    for fused in kernels:
        for node in fused.slots:
            if node.op is ops.constant:
                arrays.setdefault(node, node.attrs["value"].array.reshape(-1))
            arrays.setdefault(node, np.full(node.tensor_type.size, 99, node.dtype.numpy))
        assert run_kernel(fused.kernel, [arrays[n] for n in fused.slots])
    empty = {n: np.empty(0, n.dtype.numpy) for n in graph.results if not n.tensor_type.size}
    return [{**arrays, **empty}[n].reshape(n.shape) for n in graph.results]


@pytest.mark.parametrize("name", SAMPLES)
def test_fused_kernels_compute_the_graph(name: str) -> None:
    graph = SAMPLES[name]
    inputs, variables = graphs.random_arrays(graph)
    expected = graphs.evaluate(graph, inputs, variables)
    results = run_fused(graph, fuse(graph), inputs, variables)
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    "name",
    [n for n in SAMPLES if n not in ("scatter", "mlp step", "several axes", "any, all")],
)
def test_one_kernel(name: str) -> None:
    assert len(fuse(SAMPLES[name])) == 1


def test_training_step_kernels() -> None:
    kernels = [f.kernel.kind for f in fuse(graphs.mlp_step())]
    assert kernels.count(KernelKind.CONTRACTION) == 5
    assert len(kernels) <= 9


def test_equal_work_gives_equal_kernels() -> None:
    x = graphs.source((32, 32))
    w1, w2 = graphs.source((32, 32)), graphs.source((32, 32), name="other")
    a = graphs.gelu(graphs.matmul(x, w1))
    b = graphs.gelu(graphs.matmul(a, w2))
    first, second = fuse(graphs.graph([x, w1, w2], [b]))
    assert first.kernel == second.kernel and hash(first.kernel) == hash(second.kernel)


def test_reasons_name_what_was_cut() -> None:
    x = graphs.source((64, 64))
    h = graphs.matmul(x, x)
    _, second = fuse(graphs.graph([x], [graphs.softmax(h, 1)]))
    assert any("reduces a contraction's result" in r for r in second.reasons)


def test_a_producer_is_not_computed_twice_at_full_size() -> None:
    x = graphs.source((16, 16))
    e = ops.exp(x)
    kernels = fuse(graphs.graph([x], [ops.add(e, graphs.transposed(e))]))
    assert len(kernels) == 2 and any("again at another index" in r for r in kernels[1].reasons)


def test_no_cycle_between_groups() -> None:
    """y joins x's kernel only if nothing between them has to run in between."""
    x, w = graphs.source((8, 8)), graphs.source((8, 8))
    a = ops.exp(x)
    b = graphs.matmul(a, w)
    c = ops.add(a, b)
    kernels = fuse(graphs.graph([x, w], [c]))
    seen = {x, w}
    for fused in kernels:
        assert all(fused.slots[s] in seen for s in fused.kernel.loaded)
        seen |= {fused.slots[s] for s in fused.kernel.written}


def test_a_kernel_of_many_inputs() -> None:
    """A limit on buffers holds for what joins a kernel, not for the op that starts it."""
    xs = [graphs.source((3,)) for _ in range(40)]
    for result in (joined := ops.concat(*xs, axis=0), graphs.scaled(joined, 2.0)):
        graph = graphs.graph(xs, [result])
        inputs, _ = graphs.random_arrays(graph)
        (got,) = run_fused(graph, fuse(graph), inputs, [])
        np.testing.assert_array_equal(got, graphs.evaluate(graph, inputs)[0])


@pytest.mark.parametrize("expensive", [False, True])
def test_what_is_read_at_many_indices_stays_small(expensive: bool) -> None:
    """Each concat of a value with itself doubles the indices that it is read at: 2¹² here, if all were one kernel."""
    x = graphs.source((2,))
    y = x
    for _ in range(12):
        y = ops.concat(y, ops.flip(y, axes=(0,)), axis=0)
        y = graphs.scaled(ops.slice(y, start=(1,), stop=(y.shape[0] - 1,), step=(1,)), 0.5)
        y = ops.tanh(y) if expensive else y
    graph = graphs.graph([x], [y])
    kernels = fuse(graph)
    assert sum(len(k.kernel.values) for k in kernels) < 2000
    inputs, _ = graphs.random_arrays(graph)
    np.testing.assert_allclose(
        run_fused(graph, kernels, inputs, [])[0], graphs.evaluate(graph, inputs)[0], rtol=1e-5
    )


@pytest.mark.parametrize("make", [ops.negative, lambda x: ops.add(ops.tanh(x), x)], ids=["absorbed", "members"])
def test_deep_graphs(make: Callable[[Node], Node]) -> None:
    """Chains longer than Python's stack is deep, which unrolled solvers make: in kernels of limited size, most of them
    equal."""
    x = source = graphs.source((64,))
    for _ in range(1500):
        x = make(x)
    found = fuse(graphs.graph([source], [ops.sum(x, axes=(0,))]))
    assert len(found) <= 100 and len({f.kernel for f in found}) <= 12


def test_a_long_chain_of_reductions() -> None:
    """What a result is spread to is known without deep recursion, and without walking to the end each time."""
    x = source = graphs.source((4, 4))
    for _ in range(300):
        x = graphs.softmax(x, 1)
    found = fuse(graphs.graph([source], [x]))
    assert len(found) <= 150 and len({f.kernel for f in found}) <= 4


def test_a_count_does_not_part_a_loss_from_its_gradient() -> None:
    """Means over what is counted wait for the count only: one kernel walks the logits, for loss and gradient."""
    logits = np.zeros((256, 1000), np.float32)
    traced = gx.trace(gx.value_and_grad(nn.cross_entropy), logits, np.zeros(256, np.int64))
    graph = optimize(traced, Settings())
    large = [k for k in fuse(graph) if any(n.shape == logits.shape for n in k.slots)]
    assert len(large) == 1
