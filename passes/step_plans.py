"""How each kind of step that is no kernel is planned."""

from __future__ import annotations

from graphc.errors import UnsupportedError
from graphc.ir import Node
from graphc.op import Kind
from graphc.ops import scan, switch, while_loop

from .scope import ControlPlan, Scope


def plan_step(scope: Scope, node: Node) -> ControlPlan:
    """The plan of a loop, branch or call of the scope's graph. Raises UnsupportedError for another op with bodies."""
    if node.op.kind is Kind.CALL:
        from .call_plan import CallPlan

        return CallPlan(scope, node)
    if node.op is switch:
        from .branch_plan import BranchPlan

        return BranchPlan(scope, node)
    if node.op is scan or node.op is while_loop:
        from .loop_plan import LoopPlan

        return LoopPlan(scope, node)
    raise UnsupportedError(f"there are no steps for {node.op.name}", where=node.loc)
