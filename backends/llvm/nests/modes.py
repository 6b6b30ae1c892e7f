"""What all modes of reductions share: the sweeps of the kernel and what each of them needs.

In: a kernel's values and its plan. Out: nothing yet; a mode emits the sweeps for one unit of work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from graphc.cached import cached_property
from graphc.dataclass import dataclass
from graphc.kernel import Kernel

from ...kernels.sweeps import Sweep, behind_scans, needed_in, sweeps_of
from .loops import Span
from .places import Point
from .plan import NestPlan
from .running import Runs
from .values import Values


@dataclass
class Mode(ABC):
    """A way to sweep over rows."""

    values: Values
    plan: NestPlan

    @property
    def kernel(self) -> Kernel:
        return self.values.kernel

    @cached_property
    def sweeps(self) -> tuple[Sweep, ...]:
        return sweeps_of(self.kernel)

    def kept_before(self, level: int) -> list[int]:
        """The values that row buffers hold when the sweep of a level begins."""
        return [n for n, first in self.plan.kept if first < level]

    def numbers(self, sweep: Sweep) -> tuple[int, ...]:
        """The values that a sweep needs, those known from earlier ones among them."""
        return needed_in(self.kernel, sweep, self.kept_before(sweep.level))

    def runs(self, sweep: Sweep, copies: int) -> Runs:
        """The cumulative values that a sweep computes, of so many rows side by side."""
        kept = self.kept_before(sweep.level)
        numbers = [n for n in self.numbers(sweep) if n not in kept]
        return Runs(self.values, numbers, copies, self.plan.axis in self.kernel.row)

    def ahead(self, sweep: Sweep) -> tuple[int, ...]:
        """Those of its values that may be computed before the row's points are visited in order."""
        found = behind_scans(self.kernel)
        return tuple(n for n in self.numbers(sweep) if n not in found)

    @abstractmethod
    def emit(self, frame: Point, span: Span | None) -> None:
        """All sweeps over the rows of a unit, or of a point of its loops."""
