"""The ops that sort, on every backend at every dtype, bit for bit; their gradients, and what their rules refuse."""

from __future__ import annotations

from functools import cmp_to_key
from typing import Any

import numpy as np
import pytest

from graphc import ops
from graphc.errors import ShapeError, UnsupportedError
from graphc.evaluate import evaluate_graph
from graphc.ir import Graph
from graphc.passes.differentiate import differentiate
from graphc.types import DTYPES, DType, bfloat16, float16, float32, float64, int32, type_of
from tests.contract.backends import BACKENDS, reason_lacking, rest_of_dtypes, run_on, short_dtypes
from tests.contract.sorts import CALLS, LONG, SortSample
from tests.contract.values import ordinary

F = np.float32


EACH = [(b, d) for b in BACKENDS for d in (short_dtypes(b) if b == "triton" else DTYPES.values())]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(("backend", "dtype"), EACH, ids=str)
def test_backend_gives_the_reference(backend: str, name: str, dtype: DType) -> None:
    _gives_the_reference(backend, name, dtype)


@pytest.mark.long
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", rest_of_dtypes("triton"), ids=str)
def test_triton_gives_the_reference_at_the_rest(name: str, dtype: DType) -> None:
    _gives_the_reference("triton", name, dtype)


def _gives_the_reference(backend: str, name: str, dtype: DType) -> None:
    samples = list(CALLS[name](dtype))
    graphs = [s.graph() for s in samples]
    whole = Graph(tuple(i for g in graphs for i in g.inputs), (), (), tuple(o for g in graphs for o in g.outputs))
    arrays = [s.array for s in samples]
    if reason_lacking(backend, name, dtype):
        with pytest.raises(UnsupportedError):
            run_on(backend, whole, arrays)
        return
    found = iter(run_on(backend, whole, arrays))
    for sample, graph in zip(samples, graphs, strict=True):
        for want in evaluate_graph(graph, [sample.array])[0]:
            same(next(found), want, f"{backend}: {sample}")


def same(got: np.ndarray, want: np.ndarray, message: str) -> None:
    """The same bits."""
    assert got.dtype == want.dtype and got.shape == want.shape, message
    bits = f"u{got.dtype.itemsize}"
    np.testing.assert_array_equal(got.view(bits), want.view(bits), err_msg=message)


@pytest.mark.parametrize("dtype", [float32, float64, bfloat16, int32], ids=str)
@pytest.mark.parametrize("wanted", [(0, 1), (0,), (1,)])
def test_long_rows(dtype: DType, wanted: tuple[int, ...]) -> None:
    """They are cut into chunks, and have many ties."""
    x = np.random.default_rng(2).integers(-5000, 5000, LONG).astype(dtype.numpy)
    for op, attrs in ((ops.sort, {"descending": False}), (ops.sort, {"descending": True}), (ops.top_k, {"k": 5000})):
        sample = SortSample(op, x, attrs, wanted)
        for got, want in zip(run_on("llvm", sample.graph(), [x]), evaluate_graph(sample.graph(), [x])[0], strict=True):
            same(got, want, str(sample))


def before(a: float, b: float) -> int:
    """The order, as documented."""
    if a != a or b != b:
        return int(a != a) - int(b != b)
    return int(a > b) - int(a < b)


@pytest.mark.parametrize("dtype", [float32, float16, bfloat16, float64], ids=str)
def test_the_reference_against_pythons_sort(dtype: DType) -> None:
    x = np.array([3, np.nan, -0.0, 0, -np.inf, 0, np.inf, -0.0, 3, np.nan, -1], dtype.numpy)
    numbers = [float(v) for v in x]
    for descending in (False, True):
        in_order = cmp_to_key(before if not descending else lambda a, b: before(b, a))
        want = sorted(range(len(x)), key=[in_order(v) for v in numbers].__getitem__)
        (values, indices), _ = evaluate_graph(SortSample(ops.sort, x, {"descending": descending}).graph(), [x])
        assert indices.tolist() == want
        same(values, x[want], str(descending))
        if descending:
            (values, indices), _ = evaluate_graph(SortSample(ops.top_k, x, {"k": 4}).graph(), [x])
            assert indices.tolist() == want[:4] == [1, 9, 6, 0]


# Gradients: each element's slope is that of where it went, whatever it is


def slope(sample: SortSample, weights: np.ndarray) -> Graph:
    graph = sample.graph()
    (found,) = differentiate([graph.outputs[0]], graph.inputs, [ops.array_constant(weights)])
    assert found is not None
    return Graph(graph.inputs, (), (), (found,))


EDGES: list[tuple[list[float], dict[str, Any], list[float]]] = [
    ([7], {"descending": False}, [1]),
    ([3, 1, 2], {"descending": False}, [3, 1, 2]),
    ([3, 1, 2], {"descending": True}, [1, 3, 2]),
    ([1, 1, 1], {"descending": False}, [1, 2, 3]),
    ([0, -0.0, 0], {"descending": True}, [1, 2, 3]),
    ([np.nan, np.inf, -np.inf, np.nan], {"descending": False}, [3, 2, 1, 4]),
    ([1, np.nan, 5, 5], {"k": 2}, [0, 1, 2, 0]),
    ([1, 2, 3], {"k": 0}, [0, 0, 0]),
    ([4, 4], {"k": 1}, [1, 0]),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [float32, float64, float16], ids=str)
def test_gradients_at_the_edges(backend: str, dtype: DType) -> None:
    for row, attrs, want in EDGES:
        x = np.array(row, dtype.numpy)
        weights = np.arange(1, 1 + attrs.get("k", len(x))).astype(dtype.numpy)
        sample = SortSample(ops.top_k if "k" in attrs else ops.sort, x, attrs)
        (got,) = run_on(backend, slope(sample, weights), [x])
        assert got.tolist() == want, str(sample)


def test_indices_have_no_gradient() -> None:
    graph = SortSample(ops.sort, np.zeros(3, F), {"descending": False}, (1,)).graph()
    values = ops.cast(graph.outputs[0], dtype=float32)
    (found,) = differentiate([values], graph.inputs, [ops.ones_like(values)])
    assert found is None


def test_gradients_of_rows_numerically() -> None:
    x, h = ordinary(float64, (2, 3, 9)), 1e-6
    weights = ordinary(float64, x.shape, 5)
    direction = ordinary(float64, x.shape, 6)
    sample = SortSample(ops.sort, x, {"descending": True}, (0,))
    (got,), _ = evaluate_graph(slope(sample, weights), [x])
    ends = [evaluate_graph(sample.graph(), [x + s * direction])[0][0] for s in (h, -h)]
    assert np.isclose(np.sum((ends[0] - ends[1]) * weights) / (2 * h), np.sum(got * direction), rtol=1e-6)


def test_refused() -> None:
    scalar = ops.input(type=type_of(np.zeros((), F)), name="x")
    row = ops.input(type=type_of(np.zeros(3, F)), name="x")
    with pytest.raises(ShapeError, match="needs an axis"):
        ops.sort(scalar, descending=False)
    with pytest.raises(ShapeError, match="needs an axis"):
        ops.top_k(scalar, k=0)
    for k in (-1, 4):
        with pytest.raises(ShapeError, match="0 ≤ k ≤"):
            ops.top_k(row, k=k)
