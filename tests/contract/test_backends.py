"""Every op on every backend, at every dtype, gives what the reference gives."""

import pytest

from graphc.errors import UnsupportedError
from graphc.evaluate import evaluate
from graphc.types import DType
from tests.contract.backends import BACKENDS, reason_lacking, rest_of_dtypes, run_on, short_dtypes
from tests.contract.samples import MAKERS, graph_of, samples_of
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
