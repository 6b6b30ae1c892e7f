"""Thresholds follow from costs, and a kind of machine's costs are those that its schedules are made with."""

from __future__ import annotations

import numpy as np

import graphc as gx
from graphc.costs import CPU, GPU
from graphc.dataclass import replace
from graphc.driver.compilation import costs_of
from graphc.passes.schedule import schedule
from tests import graphs


def test_thresholds_of_a_cpu() -> None:
    assert (CPU.expensive, CPU.cheap, CPU.shared_bytes, CPU.small) == (8, 4, 1 << 12, 1 << 10)


def test_thresholds_follow_from_costs() -> None:
    assert replace(CPU, instruction=CPU.instruction / 4).expensive == 4 * CPU.expensive
    assert replace(CPU, launch=GPU.launch).small > CPU.small
    assert replace(CPU, meeting=0).shared_bytes == 64
    assert CPU.saved(1000) == CPU.launch + CPU.meeting + 1000 * CPU.byte


def test_each_backend_has_its_own() -> None:
    assert (costs_of("reference"), costs_of("llvm"), costs_of("triton"), costs_of("none")) == (CPU, CPU, GPU, CPU)


def test_a_schedule_is_for_a_kind_of_machine() -> None:
    """Two kernels of 64k elements each: threads go over both at once, but a GPU saves a launch."""
    x, y = graphs.source((256, 256)), graphs.source((256, 256))
    graph = graphs.graph([x, y], [graphs.softmax(x, 1), graphs.softmax(y, 1)])
    assert len(schedule(graph, CPU).steps) == 2 and len(schedule(graph, GPU).steps) == 1


def test_an_executable_schedules_for_its_backend() -> None:
    x = np.ones((256, 256), np.float32)

    def both(x: gx.Tensor, y: gx.Tensor) -> tuple[gx.Tensor, gx.Tensor]:
        return gx.nn.softmax(x), gx.nn.softmax(y)

    steps = {b: len(gx.compile(both, backend=b).schedule(x, x).steps) for b in ("llvm", "triton")}
    assert steps == {"llvm": 2, "triton": 1}
