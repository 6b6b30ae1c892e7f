"""A switch as a task: an arm for each of its graphs, all with the same inputs and the same places for their results."""

from __future__ import annotations

from graphc.ir import Node
from graphc.ops.branches import branches_of

from .planned import BranchTask
from .scope import Scope, body_tasks


class BranchPlan:
    def __init__(self, scope: Scope, node: Node) -> None:
        self.node = node
        graphs = branches_of(dict(node.attrs))
        self.arms = [Scope(scope.program, graph, scope.space, scope.loop) for graph in graphs]

    @property
    def gathers(self) -> bool:
        return any(arm.uses.gathers for arm in self.arms)

    @property
    def work(self) -> int:
        return max(arm.uses.work for arm in self.arms)

    def register(self, scope: Scope) -> None:
        pass

    def claim(self, scope: Scope) -> None:
        pass

    def task(self, scope: Scope) -> BranchTask:
        index, *inputs = [scope.place(n) for n in self.node.inputs]
        arms = []
        for arm in self.arms:
            wanted = [(o, scope.place((self.node, i))) for i, o in enumerate(arm.graph.outputs)]
            arms.append(body_tasks(arm, inputs, wanted))
        return BranchTask(self.node, index, arms)
