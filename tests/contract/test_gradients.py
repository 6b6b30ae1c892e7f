"""Gradient rules against numeric derivatives in float64, first and second order, and at the places with kinks.

Derivatives are taken along random directions, so that two evaluations check all of an op's inputs at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from graphc import ops
from graphc.evaluate import evaluate_graph
from graphc.ir import Graph, Node
from graphc.op import Op, find_op, registry
from graphc.ops.rules import no_gradient
from graphc.passes.differentiate import differentiate
from graphc.types import DType, TensorType, bfloat16, bool_, float16, float32, float64, int64, type_of, uint32
from tests.contract.samples import Sample, samples_of
from tests.contract.smooth import CONSTANT, DIFFERENTIABLE, smooth_samples


def test_every_op_has_a_gradient_rule():
    missing = {op.name for op in registry().values() if op.vjp is None and not op.name.startswith("user_")}
    assert missing <= {"input", "variable", "item"}


def is_float(node: Node) -> bool:
    return node.dtype.is_float


class Directional:
    """A function of arrays as a graph, and its derivative along directions, by rule and by difference."""

    def __init__(self, inputs: Sequence[Node], output: Node, directions: Sequence[np.ndarray | None]) -> None:
        self.inputs = tuple(inputs)
        self.output = output
        self.directions = directions

    def derivative(self) -> Node:
        """Σ gradient · direction as a node."""
        wrt = [x for x, d in zip(self.inputs, self.directions, strict=True) if d is not None]
        gradients = differentiate([self.output], wrt, [ops.ones_like(self.output)])
        total: Node = ops.scalar_constant(0.0, float64)
        for gradient, d in zip(gradients, [d for d in self.directions if d is not None], strict=True):
            if gradient is not None:
                assert type_of(d) == gradient.type
                total = ops.add(total, inner_product(gradient, d))
        return total

    def by_rule(self, arrays: Sequence[np.ndarray]) -> float:
        return run(self.inputs, self.derivative(), arrays)

    def by_difference(self, arrays: Sequence[np.ndarray], h: float = 1e-5) -> float:
        """Richardson's combination of two central differences: error O(h⁴)."""

        def central(h: float) -> float:
            ends = []
            for sign in (h, -h):
                moved = [
                    a if d is None else a + sign * d for a, d in zip(arrays, self.directions, strict=True)
                ]
                ends.append(run(self.inputs, self.output, moved))
            return (ends[0] - ends[1]) / (2 * h)

        return (4 * central(h) - central(2 * h)) / 3

    def check(self, arrays: Sequence[np.ndarray], message: str) -> None:
        rule, difference = self.by_rule(arrays), self.by_difference(arrays)
        assert np.isclose(rule, difference, rtol=1e-5, atol=1e-6), (
            f"{message}: rule {rule}, numeric {difference}"
        )


def inner_product(x: Node, weights: np.ndarray) -> Node:
    product = ops.multiply(x, ops.array_constant(weights))
    return ops.sum(product, axes=tuple(range(len(x.shape)))) if x.shape else product


def run(inputs: Sequence[Node], output: Node, arrays: Sequence[np.ndarray]) -> float:
    outputs, _ = evaluate_graph(Graph(tuple(inputs), (), (), (output,)), arrays)
    return float(outputs[0])


def directional(sample: Sample, seed: int) -> Directional:
    """The op's result, weighted at random, along random directions of its float inputs."""
    rng = np.random.default_rng(seed)
    graph = sample.graph()
    output = inner_product(graph.outputs[0], rng.normal(size=graph.outputs[0].shape))
    directions = [rng.normal(size=x.shape) if is_float(x) else None for x in graph.inputs]
    return Directional(graph.inputs, output, directions)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient(name):
    for seed, sample in enumerate(smooth_samples(name)):
        if is_float(sample.graph().outputs[0]):
            directional(sample, seed).check(sample.arrays, str(sample))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient_of_the_gradient(name):
    for seed, sample in enumerate(smooth_samples(name)[:8]):
        if not is_float(sample.graph().outputs[0]):
            continue
        first = directional(sample, seed)
        second = Directional(first.inputs, first.derivative(), first.directions)
        second.check(sample.arrays, f"second derivative of {sample}")


@pytest.mark.parametrize("name", CONSTANT)
def test_ops_without_gradient_are_constant(name):
    op = find_op(name)
    samples = smooth_samples(name)[:3]
    if not samples or not is_float(samples[0].graph().outputs[0]):
        assert op.vjp is no_gradient and not any(op.vjp(*rule_arguments(name)))
        return
    for seed, sample in enumerate(samples):
        assert directional(sample, seed).by_difference(sample.arrays) == 0


def rule_arguments(name: str) -> list[Node]:
    """Arguments for a rule: a cotangent, the result, the inputs."""
    sample = next(s for d in (float32, int64, bool_, uint32) for s in samples_of(name, d))
    graph = sample.graph()
    return [graph.outputs[0], graph.outputs[0], *graph.inputs]


# Kinks and singular places


def gradients(op: Op, *arrays: object, dtype: DType = float64, **attrs: object) -> list[Any]:
    """Gradients of the sum of the result with respect to each input."""
    values = [
        np.asarray(a, dtype.numpy) if np.asarray(a).dtype.kind == "f" else np.asarray(a) for a in arrays
    ]
    graph = Sample(op, tuple(values), dict(attrs)).graph()
    (y,) = graph.outputs
    wrt = [x for x in graph.inputs if is_float(x)]
    found = differentiate([y], wrt, [ops.ones_like(y)])
    known = tuple(g for g in found if g is not None)
    results, _ = evaluate_graph(Graph(graph.inputs, (), (), known), values)
    given = iter(results)
    return [None if g is None else next(given).tolist() for g in found]


def test_equal_extremes_share():
    assert gradients(ops.maximum, [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]) == [[0.5, 0, 1], [0.5, 1, 0]]
    assert gradients(ops.minimum, [1.0, 2.0, -0.0], [1.0, 3.0, 0.0]) == [[0.5, 1, 0.5], [0.5, 0, 0.5]]
    assert gradients(ops.max, [[2.0, 5.0, 5.0], [1.0, 0.0, 0.0]], axes=(1,)) == [[[0, 0.5, 0.5], [1, 0, 0]]]
    assert gradients(ops.min, [[3.0, 3.0, 3.0, 3.0]], axes=(1,)) == [[[0.25] * 4]]


def test_extremes_that_are_nan_pass_no_gradient():
    assert gradients(ops.max, [[1.0, np.nan]], axes=(1,)) == [[[0, 0]]]
    assert gradients(ops.maximum, [1.0], [np.nan]) == [[0], [0]]


def test_power_at_zero():
    base, exponent = gradients(ops.power, [0.0, 0.0, 0.0, 2.0], [2.0, 1.0, 0.0, 0.0])
    assert base == [0, 1, 0, 0]
    assert exponent == [0, 0, 0, np.log(2)]


def test_power_of_a_negative_base():
    base, _ = gradients(ops.power, [-3.0, -2.0], [2.0, 3.0])
    assert np.allclose(base, [-6, 12])


def test_product_with_zeros():
    x = [[2.0, 3.0, 5.0], [0.0, 3.0, 5.0], [0.0, 0.0, 5.0]]
    assert gradients(ops.prod, x, axes=(1,)) == [[[15, 10, 6], [15, 0, 0], [0, 0, 0]]]


def test_second_derivative_of_a_product_with_zeros():
    sample = Sample(ops.prod, (np.array([0.0, 0.0, 5.0, 2.0, 3.0]),), {"axes": (0,)})
    first = directional(sample, 0)
    Directional(first.inputs, first.derivative(), first.directions).check(sample.arrays, "prod with zeros")


def test_square_root_at_zero_is_steep_and_abs_flat():
    assert gradients(ops.sqrt, [0.0]) == [[np.inf]]
    assert gradients(ops.abs, [0.0, -2.0, 3.0]) == [[0, -1, 1]]
    assert gradients(ops.hypot, [0.0, 3.0], [0.0, 4.0]) == [[0, 0.6], [0, 0.8]]


def test_what_is_not_selected_leaves_no_trace():
    x = ops.input(type=TensorType(float64, (2,)), name="x")
    positive = ops.greater(x, ops.zeros_like(x))
    y = ops.select(positive, ops.log(ops.select(positive, x, ops.ones_like(x))), ops.zeros_like(x))
    (g,) = differentiate([y], [x], [ops.ones_like(y)])
    assert g is not None
    outputs, _ = evaluate_graph(Graph((x,), (), (), (g,)), [np.array([-1.0, 2.0])])
    assert outputs[0].tolist() == [0, 0.5]


def test_logaddexp_of_equal_infinities():
    assert gradients(ops.logaddexp, [np.inf, -np.inf, 1.0], [np.inf, -np.inf, 1.0]) == [[0.5] * 3, [0.5] * 3]


def test_scatter_and_gather_with_repeated_indices():
    index = np.array([1, 1, 0])
    assert gradients(ops.gather, [1.0, 2.0, 3.0], index, axes=(0,)) == [[1, 2, 0]]
    assert gradients(ops.scatter_add, [1.0, 2.0, 3.0], [5.0, 6.0, 7.0], index, axes=(0,)) == [
        [1, 1, 1],
        [1, 1, 1],
    ]


def test_pick_from_more_than_a_narrow_index_counts() -> None:
    (g,) = gradients(ops.pick, np.zeros((1, 600)), np.array([3], np.uint8))
    assert np.flatnonzero(g).tolist() == [3]


def test_pad_fill_gets_what_is_outside():
    assert gradients(ops.pad, [1.0, 2.0], 0.5, low=(1,), high=(2,)) == [[1, 1], 3]


@pytest.mark.parametrize("dtype", [float16, bfloat16, float32, float64])
def test_cast_gives_the_gradient_its_inputs_dtype(dtype):
    x = ops.input(type=TensorType(float32, (2,)), name="x")
    y = ops.cast(x, dtype=dtype)
    (g,) = differentiate([y], [x], [ops.ones_like(y)])
    assert g is not None and g.type == x.type


def test_no_gradient_flows_through_integers():
    x = ops.input(type=TensorType(float32, (2,)), name="x")
    y = ops.cast(ops.cast(x, dtype=int64), dtype=float32)
    assert differentiate([y], [x], [ops.ones_like(y)]) == [None]
