"""Equal groups have one kernel, under their own names; groups that differ in anything have their own."""

from __future__ import annotations

import pytest

from graphc import ops
from graphc.costs import CPU, Costs
from graphc.dataclass import replace
from graphc.ir import Node
from graphc.passes import lower_groups
from graphc.passes.fuse import FusedKernel, fuse
from graphc.passes.kernel_tracer import KernelTracer
from graphc.types import float32, int64
from tests import graphs

X, Y = graphs.source((8, 8), name="x"), graphs.source((8, 8), name="y")


def fused(monkeypatch: pytest.MonkeyPatch, *outputs: Node, costs: Costs = CPU) -> tuple[tuple[FusedKernel, ...], int]:
    """The kernels of a graph, and how many of them were built."""
    built = 0

    def count(*args: object) -> object:
        nonlocal built
        built += 1
        return original(*args)  # type: ignore[arg-type]

    original = lower_groups.build_kernel
    monkeypatch.setattr(lower_groups, "build_kernel", count)
    sources = [n for n in graphs.graph([], outputs).nodes if n.op is ops.input]
    return fuse(graphs.graph(sources, outputs), costs), built


def test_equal_layers_are_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x = graphs.source((32, 32))
    for number in range(6):
        x = graphs.gelu(graphs.matmul(x, graphs.source((32, 32), name=f"w{number}")))
    kernels, built = fused(monkeypatch, x)
    assert len(kernels) == 6 and built == 1 and len({k.kernel for k in kernels}) == 1
    assert [k.kernel.slots[1].name for k in kernels] == [f"w{n}" for n in range(6)]


def test_what_alike_groups_have_met_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(layers: int) -> int:
        steps = 0

        def count(tracer: KernelTracer) -> None:
            nonlocal steps
            steps += 1
            original(tracer)

        x = graphs.source((32, 32))
        for number in range(layers):
            w = graphs.source((32, 32), name=f"w{number}")
            x = graphs.gelu(graphs.matmul(x, w))
        original = KernelTracer.step
        monkeypatch.setattr(KernelTracer, "step", count)
        fuse(graphs.graph([n for n in graphs.graph([], (x,)).nodes if n.op is ops.input], (x,)))
        monkeypatch.undo()
        return steps

    assert tried(12) == tried(4)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: ops.sum(X, axes=(0,)), lambda: ops.sum(Y, axes=(1,))),
        (lambda: graphs.scaled(ops.exp(X), 0.0), lambda: graphs.scaled(ops.exp(Y), -0.0)),
        (lambda: ops.add(ops.tanh(X), X), lambda: ops.add(ops.tanh(Y), graphs.source((8, 8)))),
        (lambda: ops.cast(ops.exp(X), dtype=int64), lambda: ops.cast(ops.exp(Y), dtype=float32)),
        (
            lambda: ops.add(ops.exp(X), ops.iota(type=X.tensor_type, axis=0)),
            lambda: ops.add(ops.exp(Y), ops.iota(type=X.tensor_type, axis=1)),
        ),
    ],
    ids=["attrs", "constants", "what is read", "dtypes", "positions"],
)
def test_what_differs_has_its_own(monkeypatch: pytest.MonkeyPatch, one: object, other: object) -> None:
    apart = replace(CPU, launch=0, meeting=0)
    kernels, built = fused(monkeypatch, one(), other(), costs=apart)  # type: ignore[operator]
    assert built == len(kernels) == 2 and kernels[0].kernel != kernels[1].kernel
