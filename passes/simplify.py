"""Simplification: all rewrite rules, applied until none applies. The rules themselves stand in `rules/`."""

from __future__ import annotations

from graphc.ir import Graph

from . import fold
from .rewrite import Rule, RuleSet, rewrite
from .rules import algebra, contractions, indexed, joins, logic, reductions, views

RULES = RuleSet(
    [
        *fold.RULES,
        *views.RULES,
        *joins.RULES,
        *reductions.RULES,
        *contractions.RULES,
        *algebra.RULES,
        *logic.RULES,
        *indexed.RULES,
    ]
)


def simplify(graph: Graph) -> Graph:
    """Replace nodes by simpler ones that compute the same.

    %0 = negative(%x)                                    %0 = subtract(%y, %x)
    %1 = add(%y, %0)                               →     %1 = dot_general(%a, %b) {contract = ((0,), (0,)), …}
    %2 = permute(%a) {axes = (1, 0)}
    %3 = dot_general(%2, %b) {contract = ((1,), (0,)), …}
    """
    return rewrite(graph, RULES)


def first_applicable(graph: Graph) -> Rule | None:
    """A rule that still applies to some node."""
    for node in graph.nodes:
        if (found := RULES.applicable(node)) is not None:
            return found
    return None
