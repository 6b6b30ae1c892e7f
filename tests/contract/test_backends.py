"""Every op on every backend, at every dtype, gives what the reference gives."""

import numpy as np
import pytest

from graphc import ops
from graphc.errors import UnsupportedError
from graphc.evaluate import evaluate, evaluate_graph
from graphc.ir import Graph, Node
from graphc.passes.differentiate import differentiate
from graphc.types import DType
from tests.contract.backends import BACKENDS, reason_lacking, rest_of_dtypes, run_on, short_dtypes
from tests.contract.samples import MAKERS, Sample, graph_of, samples_of
from tests.contract.smooth import DIFFERENTIABLE, smooth_samples
from tests.contract.tolerance import scale, ulps
from tests.contract.values import assert_close


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_backend_gives_the_reference(backend, name):
    for dtype in short_dtypes(backend):
        check(backend, name, dtype)


@pytest.mark.long
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("backend", [b for b in BACKENDS if rest_of_dtypes(b)])
def test_backend_gives_the_reference_at_other_dtypes(backend, name):
    for dtype in rest_of_dtypes(backend):
        check(backend, name, dtype)


def check(backend: str, name: str, dtype: DType) -> None:
    """All samples of a dtype at once, as the outputs of one graph."""
    samples = samples_of(name, dtype)
    if not samples:
        return
    graph = graph_of(samples)
    arrays = [a for s in samples for a in s.arrays]
    if reason_lacking(backend, name, dtype):
        with pytest.raises(UnsupportedError):
            run_on(backend, graph, arrays)
        return
    for sample, node, got in zip(samples, graph.outputs, run_on(backend, graph, arrays), strict=True):
        expected = evaluate(node, sample.arrays)
        assert_close(got, expected, ulps(name), f"{backend}: {sample}", scale(node, sample.arrays))


# Gradients: the graphs that the rules make, which fusion sees in no other test of one op


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@pytest.mark.parametrize("backend", ["kernels", "llvm"])
def test_gradients(backend: str, name: str) -> None:
    check_gradients(backend, name)


@pytest.mark.long
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_in_an_interpreter(name: str) -> None:
    check_gradients("triton", name)


def check_gradients(backend: str, name: str) -> None:
    """The gradients of all smooth samples as the outputs of one graph."""
    graph, arrays = gradient_graph(smooth_samples(name))
    expected, _ = evaluate_graph(graph, arrays)
    for number, (got, want) in enumerate(zip(run_on(backend, graph, arrays), expected, strict=True)):
        assert_close(
            got, want, 64, f"{backend}: gradient {number} of {name}", scale=np.abs(want).max(initial=1e-3)
        )


def gradient_graph(samples: list[Sample]) -> tuple[Graph, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    inputs: list[Node] = []
    arrays: list[np.ndarray] = []
    outputs: list[Node] = []
    for sample in samples:
        own = sample.graph()
        (y,) = own.outputs
        inputs += own.inputs
        arrays += sample.arrays
        if y.dtype.is_float:
            cotangent = ops.array_constant(rng.normal(size=y.shape))
            floats = [x for x in own.inputs if x.dtype.is_float]
            outputs += [g for g in differentiate([y], floats, [cotangent]) if g is not None]
    return Graph(tuple(inputs), (), (), tuple(outputs)), arrays
