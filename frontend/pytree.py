"""Pytrees: nested dicts, lists, tuples and dataclass-like containers that `optree` knows. A thin layer over it.

`optree` takes a while to import, so that happens when the first nested argument is met. None is structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optree


def leaves(tree: Any) -> list[Any]:
    """All leaves, in the tree's order."""
    return flatten(tree)[0]


def flatten(tree: Any) -> tuple[list[Any], optree.PyTreeSpec]:
    """The leaves and the structure, which is hashable."""
    import optree

    return optree.tree_flatten(tree)


def unflatten(like: Any, leaves: Sequence[Any]) -> Any:
    """A tree of the structure of `like`, with other leaves."""
    import optree

    return optree.tree_unflatten(optree.tree_structure(like), leaves)


def paths(tree: Any) -> list[tuple[Any, ...]]:
    """For each leaf the keys and numbers that lead to it."""
    import optree

    return list(optree.tree_paths(tree))


def written_order(tree: Any) -> list[tuple[int, tuple[Any, ...]]]:
    """The leaves' numbers, and the keys that lead to them, in the order in which the tree is written: that of `leaves`
    sorts the keys of dicts."""
    import optree

    numbers = unflatten(tree, range(len(leaves(tree))))
    with optree.dict_insertion_ordered(True, namespace="graphc"):
        paths, found, _ = optree.tree_flatten_with_path(numbers, namespace="graphc")
    return list(zip(found, paths, strict=True))
