"""A call as a task: its inputs where they are, its results where they are wanted."""

from __future__ import annotations

from graphc.errors import CompileError
from graphc.ir import Node
from graphc.types import TupleType
from graphc.work import slot_bytes

from .planned import CallTask, Key, key, type_of
from .scope import Scope


class CallPlan:
    def __init__(self, scope: Scope, node: Node) -> None:
        assert node.op.call is not None
        self.node = node
        names: list[Key] = [node]
        if isinstance(node.type, TupleType):
            names = [(node, i) for i in range(len(node.type.items))]
        read = {node, *(key(user) for user in scope.graph.users[node])}
        wanted = tuple(n in read and type_of(n).size > 0 for n in names)
        self.call = node.op.call(wanted, *(i.type for i in node.inputs), **node.attrs)
        makes_all = len(self.call.slots) == len(node.inputs) + len(names)
        self.results = [n for n, is_wanted in zip(names, wanted, strict=True) if is_wanted or makes_all]
        self.gathers = False

    @property
    def work(self) -> int:
        return slot_bytes(self.call.slots)

    def register(self, scope: Scope) -> None:
        pass

    def claim(self, scope: Scope) -> None:
        pass

    def task(self, scope: Scope) -> CallTask:
        places = [scope.place(n) for n in (*self.node.inputs, *self.results)]
        found = [(p.type.dtype, p.type.size) for p in places]
        slots = zip(found, self.call.slots, strict=True)
        if any(dtype is not s.dtype or size < s.size for (dtype, size), s in slots):  # a place may have room for more
            raise CompileError(f"the call of {self.node.op.name} has slots of its inputs and results", got=str(found))
        return CallTask(self.call, places, self.node)
