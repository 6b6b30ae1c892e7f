"""One description, two backends: the very same `Kernel` objects through LLVM and through Triton, against NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from graphc.backends.triton.compile import compile_source
from graphc.backends.triton.interpret import Interpreter
from graphc.backends.triton.interpreted import run_kernel_interpreted
from graphc.backends.triton.source import kernel_source
from graphc.ir import Graph
from graphc.kernel import Kernel, KernelKind
from graphc.passes.fuse import FusedKernel, fuse
from tests import graphs
from tests.backends.llvm.native import compile_kernel

Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Sample:
    """A graph that becomes one kernel of a kind, and what it computes, in NumPy."""

    graph: Graph
    kind: KernelKind
    meaning: Callable[..., Sequence[np.ndarray]]


def softmax(x: np.ndarray) -> tuple[np.ndarray]:
    e = np.exp(x - x.max(1, keepdims=True))
    return (e / e.sum(1, keepdims=True),)


def layer_norm_gradient(x: np.ndarray, scale: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, ...]:
    inverse = 1 / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    rows = (x - x.mean(1, keepdims=True)) * inverse
    gy = g * scale
    dx = inverse * (gy - gy.mean(1, keepdims=True) - rows * (gy * rows).mean(1, keepdims=True))
    return dx, (g * rows).sum(0), g.sum(0)


def matmul_with_gelu(x: np.ndarray, w: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray]:
    h = x @ w.T + bias
    return (h / 2 * (1 + np.tanh(0.7978845608 * (h + 0.044715 * h**3))),)


def running_share(x: np.ndarray) -> tuple[np.ndarray]:
    running = np.exp(x).cumsum(1)
    return (running / running.max(1, keepdims=True),)


_graphs = graphs.samples()
SAMPLES = {
    "softmax": Sample(_graphs["softmax"], KernelKind.REDUCTION, softmax),
    "layer norm gradient": Sample(_graphs["layer norm gradient"], KernelKind.REDUCTION, layer_norm_gradient),
    "column sum": Sample(_graphs["column sum"], KernelKind.REDUCTION, lambda x: (x.sum(0),)),
    "running share": Sample(_graphs["running share"], KernelKind.REDUCTION, running_share),
    "matmul with gelu": Sample(_graphs["matmul with gelu"], KernelKind.CONTRACTION, matmul_with_gelu),
}


@pytest.fixture(scope="module", params=SAMPLES)
def sample(request: pytest.FixtureRequest) -> tuple[Sample, FusedKernel]:
    """A sample and the only object that it is lowered to here."""
    found = SAMPLES[request.param]
    (fused,) = fuse(found.graph)
    assert fused.kernel.kind is found.kind
    return found, fused


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Interpreter]:
    with Interpreter() as running:
        yield running


def check(lowered: tuple[Sample, FusedKernel], execute: Callable[[Kernel, Arrays], None]) -> None:
    """Run the kernel on flat arrays, one for each slot, and compare what it stored."""
    sample, fused = lowered
    inputs, _ = graphs.random_arrays(sample.graph)
    known = dict(zip(sample.graph.inputs, inputs, strict=True))
    slots = [known.get(n, np.full(n.shape, np.nan, n.dtype.numpy)).reshape(-1).copy() for n in fused.slots]
    execute(fused.kernel, slots)
    wanted = sample.meaning(*(x.astype(np.float64) for x in inputs))
    for output, expected in zip(sample.graph.outputs, wanted, strict=True):
        got = slots[fused.slots.index(output)].reshape(output.shape)
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


def run_native(kernel: Kernel, arrays: Arrays) -> None:
    assert compile_kernel(kernel)(arrays) == 0


def test_llvm(sample):
    check(sample, run_native)


def test_triton_interpreted(sample, interpreter):
    def execute(kernel: Kernel, arrays: Arrays) -> None:
        assert run_kernel_interpreted(kernel, arrays, interpreter)

    check(sample, execute)


def test_triton_ahead_of_time(sample, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
    for artifact in compile_source(kernel_source(sample[1].kernel)):
        assert ".target sm_90" in artifact.ptx
        assert f".entry {artifact.symbol}" in artifact.ptx
        assert artifact.resources.stack == 0


def test_the_check_finds_a_wrong_kernel():
    """What softmax's kernel computes is no column sum."""
    wrong = SAMPLES["softmax"]
    (fused,) = fuse(wrong.graph)
    other = Sample(wrong.graph, wrong.kind, lambda x: (x - x.sum(0),))
    with pytest.raises(AssertionError):
        check((other, fused), run_native)
