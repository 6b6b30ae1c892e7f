"""Panels: values copied into a unit's memory, a row for each position of one axis, with another axis across lanes.

In: a value, the two axes. Out: a function that fills the panel. What lies the other way round in memory is transposed
in registers, in squares of lanes × lanes; whatever must be converted, guarded or gathered is so here.
"""

from __future__ import annotations

from graphc.dataclass import dataclass
from graphc.index import Axis
from graphc.kernel import Kernel, Load
from graphc.types import DType, int32

from ...kernels.sweeps import needed
from ..emit.memory import Memory
from ..emit.text import register_type
from ..nests.places import Chunk, Integer, Point
from ..nests.values import Values
from ..products.packing import transpose
from .parts import Part, Parts
from .plan import Plan


@dataclass(frozen=True)
class Panel:
    """`rows` rows of `width` elements, whole vectors: value `number` along `axis`, for positions of `down`. `operand`:
    it is multiplied as such a dtype; else it is kept as it is, what is smaller than 4 bytes as an int32."""

    number: int
    axis: Axis
    down: Axis
    width: int
    rows: int
    operand: DType | None = None

    @property
    def key(self) -> tuple[object, ...]:
        return "panel", self.number, self.axis, self.down


def panel_of(plan: Plan, number: int, axis: Axis, down: Axis, operand: bool = True) -> Panel:
    """The panel of a value along `axis`, of which a unit takes a block, or all of it."""
    lanes = plan.lanes
    width = plan.width if axis is plan.block else -(-axis.size // lanes) * lanes
    rows = plan.block_rows if down is plan.walk else down.size
    return Panel(number, axis, down, width, rows, plan.dtype if operand else None)


def stored_as(panel: Panel, kernel: Kernel) -> DType:
    dtype = kernel.dtypes[panel.number]
    return panel.operand or (int32 if dtype.itemsize < 4 else dtype)


def reserve(parts: Parts, panel: Panel) -> None:
    """Room for a panel. Squares may begin before its first row and end behind its last."""
    slack = parts.plan.lanes * panel.width
    parts.layout.reserve(panel.key, panel.rows * panel.width + slack, stored_as(panel, parts.plan.kernel), slack)


def write_panel(parts: Parts, panel: Panel, stem: str) -> Part:
    """The function that fills a panel: rows `low` to `high`, not none, from `start` on along its axis, to `to`, where
    row `low` comes."""
    writer = _Writer(Part(parts, stem, ("ptr %to", "i64 %start", "i64 %low", "i64 %high")), panel)
    writer.turn() if _is_turned(parts.plan, panel) else writer.copy()
    writer.part.finish()
    return writer.part


def _is_turned(plan: Plan, panel: Panel) -> bool:
    """Whether squares are transposed: the loads that vary along both axes lie along the rows."""
    kernel = plan.kernel
    loads = [v for n in needed(kernel, [panel.number]) for v in (kernel.values[n],) if isinstance(v, Load)]
    if any(v.index.coefficient(panel.axis) == 1 and v.index.is_linear_in(panel.axis) for v in loads):
        return False
    along = any(v.index.coefficient(panel.down) == 1 and v.index.is_linear_in(panel.down) for v in loads)
    fits = stored_as(panel, kernel).itemsize * plan.lanes <= plan.target.vector_bytes
    return along and fits and panel.down.size >= plan.lanes


class _Writer:
    def __init__(self, part: Part, panel: Panel) -> None:
        self.part = part
        self.plan = part.plan
        self.panel = panel
        self.code = part.code
        self.kernel = part.plan.kernel
        self.dtype = stored_as(panel, self.kernel)
        self.numbers = needed(self.kernel, [panel.number])

    def copy(self) -> None:
        """Row by row."""
        code, panel, lanes = self.code, self.panel, self.plan.lanes
        values = self.part.values(panel.axis, lanes)
        values.prepare(self.part.frame, self.numbers)
        size, rest = panel.axis.size, panel.axis.size % lanes
        valid = code.minimum(code.subtract(str(size), "%start"), panel.width)
        whole = code.let(f"and i64 {valid}, {-lanes}")
        with code.loop("%low", "%high") as row:
            frame = Point(self.part.frame, {panel.down: row.index})
            values.prepare(frame, self.numbers)
            to = self._row(code.subtract(row.index, "%low"))
            if size >= lanes:
                some = code.let(f"icmp sgt i64 {whole}, 0")
                with code.when(some), code.loop(0, whole, lanes) as strip:
                    chunk = values.chunk(Point(frame), code.add("%start", strip.index), 0, lanes)
                    self._put(values, chunk, code.element(to, self.scalar, strip.index))
            if rest:
                last = code.let(f"icmp slt i64 {whole}, {valid}")
                with code.when(last):
                    chunk = values.chunk(Point(frame), code.add("%start", whole), 0, rest)
                    self._put(values, chunk, code.element(to, self.scalar, whole))

    def turn(self) -> None:
        """Squares: rows of memory are columns of the panel. Lanes beyond the axis' end repeat its last position; the
        last square of the rows' axis may overlap the one before."""
        code, panel, lanes = self.code, self.panel, self.plan.lanes
        values = self.part.values(panel.down, lanes)
        values.prepare(self.part.frame, self.numbers)
        valid = code.minimum(code.subtract(str(panel.axis.size), "%start"), panel.width)
        with code.loop(0, valid, lanes) as strip:
            frames = []
            for lane in range(lanes):
                place = code.minimum(code.add("%start", code.add(strip.index, lane)), panel.axis.size - 1)
                frames.append(Point(self.part.frame, {panel.axis: place}))
                values.prepare(frames[-1], self.numbers)
            with code.loop("%low", "%high", lanes) as square:
                at = square.index if self._is_whole else code.minimum(square.index, panel.down.size - lanes)
                rows = [self._element(values, values.chunk(Point(f), at, 0, lanes)) for f in frames]
                to = code.element(self._row(code.subtract(at, "%low")), self.scalar, strip.index)
                for n, x in enumerate(transpose(code, self.dtype, rows)):
                    self._store(x, code.element(to, self.scalar, n * panel.width))

    @property
    def _is_whole(self) -> bool:
        """Whether squares end with their axis."""
        return self.panel.down is not self.plan.walk and self.panel.down.size % self.plan.lanes == 0

    @property
    def scalar(self) -> str:
        return register_type(self.dtype, 1)

    def _row(self, number: Integer) -> str:
        return self.code.element("%to", self.scalar, self.code.multiply(number, self.panel.width))

    def _put(self, values: Values, chunk: Chunk, to: str) -> None:
        self._store(self._element(values, chunk), to)

    def _store(self, x: str, to: str) -> None:
        type_ = register_type(self.dtype, self.plan.lanes)
        self.code.do(f"store {type_} {x}, ptr {to}, align {self.dtype.itemsize}")

    def _element(self, values: Values, chunk: Chunk) -> str:
        """A vector as the panel keeps it."""
        number, dtype = self.panel.number, self.kernel.dtypes[self.panel.number]
        x = values.vector(chunk, number)
        if self.panel.operand:
            return values.vectors.cast(x, dtype, self.panel.operand)
        if dtype.itemsize >= 4:
            return x
        lanes = self.plan.lanes
        return self.code.let(f"zext {register_type(dtype, lanes)} {x} to {register_type(int32, lanes)}")


def read_panel(part: Part, panel: Panel, address: str) -> str:
    """A vector of a panel that is no product's operand, as the value that it was."""
    code, lanes, dtype = part.code, part.plan.lanes, part.plan.kernel.dtypes[panel.number]
    x = Memory(code, lanes).load(address, stored_as(panel, part.plan.kernel))
    if dtype.itemsize >= 4:
        return x
    return code.let(f"trunc {register_type(int32, lanes)} {x} to {register_type(dtype, lanes)}")
