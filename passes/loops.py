"""Loops and branches, as they are traced and differentiated, to such as are worth running. Graph in, graph out."""

from __future__ import annotations

from graphc.ir import Graph, map_graphs

from .hoist import hoist
from .join import join
from .narrow import narrow


def loops(graph: Graph) -> Graph:
    """Make one loop of several that do the same (`join`); then give bodies less (`narrow`), so that numbers that are
    known do not count as work for one; then move work out that is the same each time (`hoist`), from inner loops
    to outer ones.
    """
    return map_graphs(narrow(join(graph)), hoist)
