"""What all modes of reductions share: the sweeps of the kernel and what each of them needs.

In: a kernel's values and its plan. Out: nothing yet; a mode emits the sweeps for one unit of work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from graphc.cached import cached_property
from graphc.dataclass import dataclass
from graphc.kernel import Kernel

from .loops import Span
from .places import Frame
from .plan import Plan
from .sweeps import Sweep, needed_in, sweeps_of
from .values import Values


@dataclass
class Mode(ABC):
    """A way to sweep over rows."""

    values: Values
    plan: Plan

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

    @abstractmethod
    def emit(self, frame: Frame, span: Span | None) -> None:
        """All sweeps over the rows of a unit, or of a point of its loops."""
