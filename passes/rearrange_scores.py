"""Rearranges sums of scores where scores are to be nowhere in memory, so that one walk along them is enough.

In: a graph and what a backend refuses. Out: the graph with the rules of `rules/scores.py` applied to what has the size
of scores, if kernels are cut of it then; else as it was.
"""

from __future__ import annotations

from collections.abc import Collection

from graphc.costs import Costs
from graphc.ir import Graph, Node

from .absorb import absorbed
from .aliases import Aliases
from .cut_scores import Refuses, cut_scores
from .fuse import stored_anyway
from .rewrite import Rule, RuleSet, rewrite
from .rules import scores
from .scores import find_regions


def rearrange_scores(graph: Graph, costs: Costs, refuses: Refuses) -> Graph:
    """The graph whose scores can be cut into few kernels, or as it was where none are."""
    regions = [r for r in find_regions(graph, stored_anyway(graph, Aliases(graph))) if not r.reason]
    if not regions:
        return graph
    sizes = {r.seed.tensor_type.size for r in regions}
    new = rewrite(graph, RuleSet([_of_sizes(r, sizes) for r in scores.RULES]))
    aliases = Aliases(new)
    results = stored_anyway(new, aliases)
    behind = absorbed(new, results, costs, aliases)
    return new if cut_scores(new, results, behind, costs, refuses).parts else graph


def _of_sizes(rule: Rule, sizes: Collection[int]) -> Rule:
    """The rule for nodes with an input of such a size."""

    def apply(node: Node) -> Node | None:
        return rule.apply(node) if any(i.tensor_type.size in sizes for i in node.inputs) else None

    return Rule(rule.name, rule.ops, apply, rule.exactness, rule.examples, rule.fits)
