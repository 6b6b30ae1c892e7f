"""The order in which fusion tries what it may: any gives kernels that compute the same.

In: the choices. Out: the one to go on with. What can't be one kernel is refused whatever the order.
"""

from __future__ import annotations

from collections.abc import Iterable

from .groups import Group


class Order:
    """A node tries the latest of its producers first, and groups merge with the earliest partner."""

    def producers(self, groups: Iterable[Group]) -> list[Group]:
        """The groups that a node may try to join, in this order. One that is left out isn't tried."""
        return sorted(groups, key=lambda g: g.number, reverse=True)

    def partner(self, partners: int) -> int:
        """One of the groups that another one gains by merging with. `partners` are their positions, as bits."""
        return (partners & -partners).bit_length() - 1
