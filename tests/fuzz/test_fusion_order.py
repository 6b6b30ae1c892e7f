"""Whatever fusion takes first, and whatever it leaves apart though it could be fused: the results are the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest

from graphc.costs import CPU, GPU
from graphc.ir import Graph
from graphc.passes.fusion_order import Order
from graphc.passes.groups import Group, bits
from graphc.passes.pipeline import optimize
from graphc.passes.schedule import schedule
from graphc.schedule import Schedule
from graphc.settings import Settings
from tests.schedule_interpreter import run_schedule

from .checks import FIRST, cases, stage, visible
from .control import random_control_case
from .random_graphs import Case, random_case
from .stability import Expected

COUNT = 24
LEFT_OUT = 0.25  # of the groups that a node could try to join


class RandomOrder(Order):
    """Any order, with some groups left out; all that it chose is told by its seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def producers(self, groups: Iterable[Group]) -> list[Group]:
        found = [g for g in super().producers(groups) if self.random.random() >= LEFT_OUT]
        self.random.shuffle(found)
        return found

    def partner(self, partners: int) -> int:
        return self.random.choice(list(bits(partners)))


def planned(graph: Graph, seed: int) -> Schedule:
    with stage("schedule", graph):
        return schedule(graph, (CPU, GPU)[seed % 2], RandomOrder(seed))


@pytest.mark.parametrize("make", [random_case, random_control_case])
def test_any_order_gives_the_same_results(make: Callable[[int], Case]) -> None:
    differs = False
    for seed in range(FIRST, FIRST + COUNT):
        for case in cases(seed, make):
            graph = optimize(case.graph, Settings())
            expected = Expected(case.graph, case.inputs, case.variables)
            made = planned(graph, seed)
            with stage("schedule", graph):
                expected.compare(visible(run_schedule, made, case.graph, case))
            differs |= len(made.leaves) != len(schedule(graph, (CPU, GPU)[seed % 2]).leaves)
    assert differs, "orders that fuse something else"


def test_machine_code_of_any_order_gives_the_same_results(llvm) -> None:
    for seed in range(FIRST, FIRST + COUNT // 4):
        for case in cases(seed):
            graph = optimize(case.graph, Settings())
            expected = Expected(case.graph, case.inputs, case.variables)
            expected.compare(visible(llvm, planned(graph, seed), case.graph, case))
