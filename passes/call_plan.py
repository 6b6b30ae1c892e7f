"""A call as a task: its inputs where they are, its results where they are wanted."""

from __future__ import annotations

from graphc.errors import CompileError
from graphc.ir import Node, is_tuple
from graphc.work import slot_bytes

from .planned import CallTask
from .scope import Scope


class CallPlan:
    def __init__(self, node: Node) -> None:
        assert node.op.call is not None
        self.node = node
        self.call = node.op.call(*(i.type for i in node.inputs), **node.attrs)
        self.gathers = False

    @property
    def work(self) -> int:
        return slot_bytes(self.call.slots)

    def register(self, scope: Scope) -> None:
        pass

    def claim(self, scope: Scope) -> None:
        pass

    def task(self, scope: Scope) -> CallTask:
        count = len(self.call.slots) - len(self.node.inputs)
        results = [(self.node, i) for i in range(count)] if is_tuple(self.node) else [self.node]
        places = [scope.place(n) for n in (*self.node.inputs, *results)]
        found = [(p.type.dtype, p.type.size) for p in places]
        if found != [(s.dtype, s.size) for s in self.call.slots]:
            raise CompileError(f"the call of {self.node.op.name} has slots of its inputs and results", got=str(found))
        return CallTask(self.call, places, self.node)
