"""The functions of an attention kernel, and the memory that a unit works in.

In: a `Plan`. Out: `Parts`, which collects finished functions; `Part`, one of them in the making, which knows the unit's
place; and `Layout`, what lies where in a unit's memory. Knows nothing of what the functions compute.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.dataclass import dataclass, field
from graphc.index import Axis
from graphc.types import DType

from ..emit.kernel_code import find_slots
from ..emit.text import Code
from ..nests.places import Integer, Point
from ..nests.values import Values
from .plan import Plan

ALIGN = 64


@dataclass
class Layout:
    """Where a unit's memory holds what: offsets in bytes by names."""

    size: int = 0
    places: dict[tuple[object, ...], int] = field(default_factory=dict)

    def reserve(self, key: tuple[object, ...], elements: int, dtype: DType, before: int = 0) -> None:
        """Room for elements, and for so many `before` them, which their address leaves out."""
        if key in self.places:
            return
        before = -(-before * dtype.itemsize // ALIGN) * ALIGN
        self.places[key] = self.size + before
        self.size += before + -(-elements * dtype.itemsize // ALIGN) * ALIGN

    def address(self, code: Code, key: tuple[object, ...]) -> str:
        return code.element("%memory", "i8", self.places[key])


@dataclass
class Parts:
    """What is being put together."""

    plan: Plan
    name: str
    layout: Layout = field(default_factory=Layout)
    functions: list[str] = field(default_factory=list)
    declarations: set[str] = field(default_factory=set)
    notes: set[str] = field(default_factory=set)
    reports: bool = False

    @property
    def slots(self) -> Sequence[int]:
        return range(len(self.plan.kernel.slots))

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Axes at whose positions all of a unit's functions work."""
        return (*self.plan.outer, *self.plan.around)

    def add(self, text: str, code: Code, reports: bool = False) -> None:
        """A finished function."""
        self.functions.append(text)
        self.declarations |= code.declarations
        self.notes |= code.notes
        self.reports |= reports


class Part:
    """A function that works on a unit: on its memory, at its place on `axes`, with some more numbers and addresses.

    `around`: whether it is called at points of the axes that are summed over besides the walked one.
    """

    def __init__(self, parts: Parts, stem: str, parameters: Sequence[str] = (), around: bool = True) -> None:
        self.parts = parts
        self.plan = parts.plan
        self.layout = parts.layout
        self.name = f"{parts.name}_{stem}"
        self.code = Code()
        self.parameters = tuple(parameters)  # such as "i64 %low"
        self.axes = parts.axes if around else parts.plan.outer
        self.frame = Point(None, {axis: f"%at{n}" for n, axis in enumerate(self.axes)})
        self.made: list[Values] = []

    def values(self, axis: Axis | None, lanes: int) -> Values:
        self.made.append(Values(self.plan.kernel, axis, lanes, self.code, self.plan.target))
        return self.made[-1]

    def finish(self) -> None:
        code, parts = self.code, self.parts
        find_slots(code, parts.slots)
        code.do("ret void")
        positions = [f"i64 %at{n}" for n in range(len(self.axes))]
        listed = ", ".join([*_FIXED, *self.parameters, *positions])
        parts.add(code.function(f"internal void @{self.name}({listed})"), code, any(v.reports for v in self.made))

    def call(self, code: Code, frame: Point, *arguments: Integer) -> None:
        """Call it from `code` at a place."""
        types = [p.split()[0] for p in self.parameters]
        given = [f"{t} {x}" for t, x in zip(types, arguments, strict=True)]
        positions = [f"i64 {frame.axes[a]}" for a in self.axes]
        code.do(f"call void @{self.name}({', '.join([*_FIXED, *given, *positions])})")


_FIXED = ("ptr %buffers", "ptr %slots", "i64 %task", "ptr %context", "ptr %memory")
