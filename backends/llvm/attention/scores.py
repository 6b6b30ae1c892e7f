"""A pass over a block of scores: products of queries and keys become what is summed, lane by lane.

In: the inner products of a block in the unit's memory, [walked, held]. Out: the functions of the passes, which take
the block into the running states of reductions and leave weights where the products were.

Running states of the second pass (sums of exp(t - m)) belong to a maximum that may grow. Where the first pass makes it
grow, they are multiplied by what follows from their form (see `running`), and so are the sums of outer products. A
maximum counts as the lowest finite number until a score is larger, so that what is masked is 0 meanwhile.

Where a row is masked throughout, its maximum is -inf, and what its scores come to then, be it NaN or the same weight
for each, the kernel says. So a unit with such a row walks a second time, along all there is, with maxima as they are.
What is known of rows before is looked at before the walk (`write_look`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from graphc.index import Axis
from graphc.kernel import Reduce
from graphc.scalar import Builder, Scalar, record, to_bits
from graphc.types import DType, int64

from ...kernels.running import Scaled
from ...kernels.sweeps import needed
from ..emit.memory import Memory, first_lanes
from ..emit.primitives import Emitter
from ..emit.text import constant, memory_type, register_type, suffix, vector_of
from ..nests.places import Chunk, Integer, Point
from ..nests.values import Values
from .panels import Panel, panel_of, read_panel, reserve
from .parts import Part, Parts
from .plan import Pass, Plan, Suspect

FAR = 1 << 40  # positions; farther than any axis is long


class Scores:
    """What a unit's memory holds of its scores, and the functions that work on it."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.plan: Plan = parts.plan
        plan, kernel, layout = parts.plan, parts.plan.kernel, parts.layout
        self.panels: dict[int, Panel] = {n: panel_of(plan, n, plan.block, plan.walk, False) for n in plan.leaves}
        for panel in self.panels.values():
            reserve(parts, panel)
        size = plan.block_rows * plan.width
        self.buffers = self._assigned()
        for n in range(max(self.buffers.values(), default=-1) + 1):
            layout.reserve(("scores", n), size, plan.dtype)
        for number in plan.row_values:
            layout.reserve(("row", number), plan.width, kernel.dtypes[number])
        for number in plan.reductions:
            for n, c in enumerate(self.reduce(number).init):
                layout.reserve(("state", number, n), plan.width, c.dtype)
            layout.reserve(("result", number), plan.width, kernel.dtypes[number])
        layout.reserve(("lowest",), 1, plan.dtype)
        layout.reserve(("reach",), 1, int64)
        for form in plan.scaled:
            layout.reserve(("factor", form), plan.width, kernel.dtypes[form.by])

    def reduce(self, number: int) -> Reduce:
        value = self.plan.kernel.values[number]
        assert isinstance(value, Reduce)
        return value

    def _assigned(self) -> dict[int, int]:
        """Which buffer holds a value: an inner product, or what a pass leaves."""
        plan = self.plan
        result = {inner.number: n for n, inner in enumerate(plan.inners)}
        count = len(result)
        for number in plan.passes[0].results if len(plan.passes) > 1 else ():
            made = needed(plan.kernel, [number], [i.number for i in plan.inners])
            result[number] = next(result[i.number] for i in plan.inners if i.number in made)
        for n, number in enumerate(plan.scores):
            result[number] = n
            count = max(count, n + 1)
        return result

    # ---- functions -------------------------------------------------------------------------------------------

    def write_begin(self) -> Part:
        """Once for each unit: values of its rows, and the neutral states of maxima."""
        part = Part(self.parts, "begin", ("i64 %start",), around=False)
        code, plan, kernel = part.code, self.plan, self.plan.kernel
        numbers = needed(kernel, plan.row_values)
        for values, chunk, at in held_strips(part, "%start"):
            values.prepare(chunk.frame, numbers)
            for number in plan.row_values:
                type_ = kernel.dtypes[number]
                to = code.element(self._address(part, ("row", number)), memory_type(type_), at)
                values.memory.store(to, values.vector(chunk, number), type_)
        self._neutral(part, plan.first)
        part.finish()
        return part

    def write_clear(self) -> Part:
        """Before each walk: the neutral states of sums, and what maxima count as at least. `reach`: how far beyond
        masks it goes."""
        part = Part(self.parts, "clear", ("i64 %reach",), around=False)
        code, plan = part.code, self.plan
        self._neutral(part, plan.second)
        for outer in plan.outers:
            self._fill(part, ("sums", outer.number), plan.dtype, sums_size(plan, outer.number), 0)
        least, nothing = (to_bits(x, plan.dtype) for x in (float(np.finfo(plan.dtype.numpy).min), -math.inf))
        type_ = register_type(plan.dtype, 1)
        masks = code.let("icmp eq i64 %reach, 0")
        values = [f"{type_} {constant(bits, plan.dtype, 1)}" for bits in (least, nothing)]
        lowest = code.let(f"select i1 {masks}, {', '.join(values)}")
        code.do(f"store {type_} {lowest}, ptr {self._address(part, ('lowest',))}")
        code.do(f"store i64 %reach, ptr {self._address(part, ('reach',))}")
        part.finish()
        return part

    def _neutral(self, part: Part, numbers: Sequence[int]) -> None:
        for number in numbers:
            for n, c in enumerate(self.reduce(number).init):
                self._fill(part, ("state", number, n), c.dtype, self.plan.width, c.bits)

    def _fill(self, part: Part, key: tuple[object, ...], dtype: DType, size: int, bits: int) -> None:
        code, lanes = part.code, self.plan.lanes
        base, emitter = self._address(part, key), Emitter(code, self.plan.target, lanes)
        with code.loop(0, size, lanes) as at:
            to = code.element(base, memory_type(dtype), at.index)
            Memory(code, lanes).store(to, emitter.constant(bits, dtype), dtype)

    def write_passes(self) -> list[Part]:
        return [self._write_pass(n, p) for n, p in enumerate(self.plan.passes)]

    def _write_pass(self, which: int, work: Pass) -> Part:
        """All strips of the unit side by side, along the walk: positions `low` to `high`."""
        plan, kernel = self.plan, self.plan.kernel
        part = Part(self.parts, f"pass{which}", ("i64 %start", "i64 %low", "i64 %high"))
        code = part.code
        values = part.values(plan.block, plan.lanes)
        before = plan.first if which else ()
        roots = [*work.results, *(i for r in work.reduces for i in self.reduce(r).inputs)]
        kept = plan.passes[0].results if which else ()
        known = {*plan.leaves, *plan.row_values, *before, *kept, *(i.number for i in plan.inners)}
        numbers = needed(kernel, roots, known)
        computed = [n for n in numbers if n not in known]
        values.prepare(part.frame, computed)
        chunks = self._chunks(part, values)
        for strip, chunk in enumerate(chunks):
            self._known_rows(part, chunk, numbers, strip)
            for number, x in self._found(part, values, strip, before).items():
                chunk.known[number] = self._started(values, number, x)
            values.prepare_chunk(chunk, computed)
        states = [(r, n, c) for r in work.reduces for n, c in enumerate(self.reduce(r).init)]
        carried = [
            (values.vectors.type(c.dtype), values.vectors.constant(c.bits, c.dtype))
            for _ in chunks
            for _, _, c in states
        ]
        with code.loop("%low", "%high", carried=carried) as loop:
            row = code.subtract(loop.index, "%low")
            frame = Point(part.frame, {plan.walk: loop.index})
            here = [chunk.inside(frame) for chunk in chunks]
            for number in numbers:
                for strip, chunk in enumerate(here):
                    if number in self.buffers and number in known:
                        chunk.known[number] = self._load(part, self._score(part, number, row, strip), plan.dtype)
                    elif number in plan.leaves:
                        chunk.known[number] = self._leaf(part, number, row, strip)
            values.prepare(frame, computed)
            width = len(states)
            loop.next = [
                x for n, chunk in enumerate(here)
                for x in self._combined(values, work, chunk, loop.carried[n * width : (n + 1) * width])
            ]  # fmt: skip
            for strip, chunk in enumerate(here):
                for number in work.results:
                    values.vector(chunk, number)
                for number in work.results:
                    x = values.vectors.cast(values.vector(chunk, number), kernel.dtypes[number], plan.dtype)
                    values.memory.store(self._score(part, number, row, strip), x, plan.dtype)
        self._take_in(part, values, work, loop.results)
        part.finish()
        return part

    def _combined(self, values: Values, work: Pass, chunk: Chunk, carried: Sequence[str]) -> list[str]:
        """The states of one strip after a score."""
        result: list[str] = []
        for number in work.reduces:
            reduce = self.reduce(number)
            state = carried[len(result) : len(result) + len(reduce.init)]
            new = tuple(values.vector(chunk, i) for i in reduce.inputs)
            result += values.vectors.combine(reduce.combine, (*state, *new))
        return result

    def _take_in(self, part: Part, values: Values, work: Pass, results: Sequence[str]) -> None:
        """A block's states into the unit's. Where that makes a maximum grow, what belongs to it follows."""
        grows = work is self.plan.passes[0] and bool(self.plan.scaled)
        before = self._all_found(part, values) if grows else []
        place = 0
        for strip in range(self._strips):
            for number in work.reduces:
                reduce, width = self.reduce(number), len(self.reduce(number).init)
                new = tuple(results[place : place + width])
                place += width
                old = self._state(part, number, strip)
                for n, x in enumerate(values.vectors.recipe(reduce.combine, (*old, *new))):
                    self._store(part, ("state", number, n), strip, x, reduce.init[n].dtype)
        if grows:
            after = self._all_found(part, values)
            started = [
                [{n: self._started(values, n, x) for n, x in found.items()} for found in found_of]
                for found_of in (before, after)
            ]
            self._follow(part, values, *started)

    def write_settle(self) -> Part:
        """When all is walked: results of reductions; and whether the unit walks once more."""
        part = Part(self.parts, "settle", ("i64 %start",), around=False)
        code, plan, kernel = part.code, self.plan, self.plan.kernel
        values = part.values(plan.block, plan.lanes)
        for strip in range(self._strips):
            for number, x in self._found(part, values, strip, plan.reductions).items():
                self._store(part, ("result", number), strip, x, kernel.dtypes[number])
        if plan.known_last:
            for held, chunk, at in held_strips(part, "%start"):
                for number in plan.reductions:
                    base = self._address(part, ("result", number))
                    place = code.element(base, memory_type(kernel.dtypes[number]), at)
                    chunk.known[number] = held.memory.load(place, kernel.dtypes[number])
                held.prepare(chunk.frame, needed(kernel, (s.number for s in plan.known_last), plan.reductions))
                self._note(part, held, chunk, plan.known_last)
        part.finish()
        return part

    def write_look(self) -> Part:
        """Before a walk: it goes along all there is where what is known of rows says that masked scores count."""
        part = Part(self.parts, "look", ("i64 %start",))
        plan, kernel = self.plan, self.plan.kernel
        held = [s for s in plan.known_first if plan.walk not in kernel.axes[s.number]]
        walked = [s for s in plan.known_first if plan.walk in kernel.axes[s.number]]
        for values, chunk, _ in held_strips(part, "%start") if held else ():
            values.prepare(chunk.frame, needed(kernel, (s.number for s in held)))
            self._note(part, values, chunk, held)
        for values, chunk, _ in strips(part, plan.walk, "0", plan.walk.size) if walked else ():
            values.prepare(chunk.frame, needed(kernel, (s.number for s in walked)))
            self._note(part, values, chunk, walked)
        part.finish()
        return part

    def _note(self, part: Part, values: Values, chunk: Chunk, suspects: Sequence[Suspect]) -> None:
        """The reach is far where one is what it should not be in a valid lane."""
        code, lanes = part.code, self.plan.lanes
        mask, some = vector_of("i1", lanes), "false"
        for suspect in suspects:
            dtype = self.plan.kernel.dtypes[suspect.number]
            test = record("is_divisor", lambda s, x: ~(s.ne(x, 0) & s.eq(x, x)), (dtype,))
            if not suspect.is_divisor:
                test = record("is_finite", lambda s, x: s.ne(x - x, 0), (dtype,))
            (found,) = values.vectors.recipe(test, (values.vector(chunk, suspect.number),))
            found = code.let(f"and {mask} {found}, {first_lanes(chunk.count, lanes)}")
            here = code.call("i1", f"llvm.vector.reduce.or.{suffix(mask)}", (mask, found))
            some = code.let(f"or i1 {some}, {here}")
        with code.when(some):
            code.do(f"store i64 {FAR}, ptr {self._address(part, ('reach',))}")

    # ---- following a maximum ---------------------------------------------------------------------------------

    def _all_found(self, part: Part, values: Values) -> list[dict[int, str]]:
        return [self._found(part, values, strip, self.plan.first) for strip in range(self._strips)]

    def _found(self, part: Part, values: Values, strip: int, numbers: Sequence[int]) -> dict[int, str]:
        """What reductions come to so far."""
        return {
            n: values.vectors.recipe(self.reduce(n).finish, self._state(part, n, strip))[0] for n in numbers
        }

    def _started(self, values: Values, number: int, x: str) -> str:
        """A maximum as the lowest that it counts as, where it is still -inf; others as they are."""
        form_of = {n for f in self.plan.scaled for n in needed(self.plan.kernel, [f.by], self.plan.first)}
        if number not in form_of:
            return x
        dtype, code = self.plan.dtype, values.code
        lowest = code.let(f"load {register_type(dtype, 1)}, ptr {self.parts.layout.address(code, ('lowest',))}")
        lowest = values.vectors.cast(values.vectors.splat(lowest, dtype), dtype, self.plan.kernel.dtypes[number])
        recipe = record("most", lambda s, a, b: s.max(a, b), (self.plan.kernel.dtypes[number],) * 2)
        return values.vectors.recipe(recipe, (x, lowest))[0]

    def _follow(self, part: Part, values: Values, before: list[dict[int, str]], after: list[dict[int, str]]) -> None:
        """Multiply sums by what makes them those of `after`."""
        code, plan, kernel = part.code, self.plan, self.plan.kernel
        for form in self.plan.scaled:
            dtype, some = kernel.dtypes[form.by], "false"
            for strip in range(self._strips):
                old, new = (self._statistic(part, values, form.by, found[strip], strip) for found in (before, after))
                recipe = record("follow", _follow, (dtype, dtype), {"factor": form.factor})
                factor, changed = values.vectors.recipe(recipe, (old, new))
                self._store(part, ("factor", form), strip, factor, dtype)
                mask = vector_of("i1", plan.lanes)
                here = code.call("i1", f"llvm.vector.reduce.or.{suffix(mask)}", (mask, changed))
                some = code.let(f"or i1 {some}, {here}")
                for number in plan.second:
                    if plan.forms[self.reduce(number).inputs[0]] == form:
                        state = self._state(part, number, strip)[0]
                        type_ = kernel.dtypes[number]
                        x = values.vectors.cast(factor, dtype, type_)
                        scaled = code.let(f"fmul {values.vectors.type(type_)} {state}, {x}")
                        self._store(part, ("state", number, 0), strip, scaled, type_)
            with code.when(some):
                for outer in plan.outers:
                    if plan.forms[outer.scores] == form:
                        self._scale_sums(part, form, outer.number)

    def _statistic(self, part: Part, values: Values, number: int, found: dict[int, str], strip: int) -> str:
        chunk = self._chunks(part, values)[strip]
        for known, x in found.items():
            chunk.known[known] = x
        self._known_rows(part, chunk, needed(self.plan.kernel, [number], self.plan.first), strip)
        return values.vector(chunk, number)

    def _scale_sums(self, part: Part, form: Scaled, number: int) -> None:
        """Row by row of what an outer product has come to."""
        code, plan = part.code, self.plan
        columns, lanes = plan.sum_tile.columns, plan.lanes
        base, factors = self._address(part, ("sums", number)), self._address(part, ("factor", form))
        dtype, source = plan.dtype, plan.kernel.dtypes[form.by]
        emitter, memory = Emitter(code, plan.target, lanes), Memory(code, lanes)
        with code.loop(0, plan.width) as row:
            x = Memory(code, 1).load(code.element(factors, memory_type(source), row.index), source)
            x = emitter.splat(Emitter(code, plan.target, 1).cast(x, source, dtype), dtype)
            with code.loop(0, sums_size(plan, number), plan.width * columns) as panel:
                line = code.add(code.multiply(row.index, columns), panel.index)
                for n in range(0, columns, lanes):
                    place = code.element(base, memory_type(dtype), code.add(line, n))
                    scaled = code.let(f"fmul {emitter.type(dtype)} {memory.load(place, dtype)}, {x}")
                    memory.store(place, scaled, dtype)

    # ---- places in memory ------------------------------------------------------------------------------------

    @property
    def _strips(self) -> int:
        return self.plan.tile.vectors

    def _chunks(self, part: Part, values: Values) -> list[Chunk]:
        lanes = self.plan.lanes
        return [values.chunk(Point(part.frame), "%start", n * lanes, lanes) for n in range(self._strips)]

    def _known_rows(self, part: Part, chunk: Chunk, numbers: Sequence[int], strip: int) -> None:
        for number in self.plan.row_values:
            if number in numbers:
                dtype = self.plan.kernel.dtypes[number]
                base = self._address(part, ("row", number))
                at = part.code.element(base, memory_type(dtype), strip * self.plan.lanes)
                chunk.known[number] = Memory(part.code, self.plan.lanes).load(at, dtype)

    def _state(self, part: Part, number: int, strip: int) -> tuple[str, ...]:
        found = []
        for n, c in enumerate(self.reduce(number).init):
            base = self._address(part, ("state", number, n))
            at = part.code.element(base, memory_type(c.dtype), strip * self.plan.lanes)
            found.append(self._load(part, at, c.dtype))
        return tuple(found)

    def _store(self, part: Part, key: tuple[object, ...], strip: int, x: str, dtype: DType) -> None:
        to = part.code.element(self._address(part, key), memory_type(dtype), strip * self.plan.lanes)
        Memory(part.code, self.plan.lanes).store(to, x, dtype)

    def _load(self, part: Part, address: str, dtype: DType) -> str:
        return Memory(part.code, self.plan.lanes).load(address, dtype)

    def _score(self, part: Part, number: int, row: str | int, strip: int) -> str:
        base = self._address(part, ("scores", self.buffers[number]))
        return self._in_block(part, base, memory_type(self.plan.dtype), row, strip)

    def _leaf(self, part: Part, number: int, row: str | int, strip: int) -> str:
        panel = self.panels[number]
        dtype = self.plan.kernel.dtypes[number]
        element = "i32" if dtype.itemsize < 4 else register_type(dtype, 1)
        return read_panel(part, panel, self._in_block(part, self._address(part, panel.key), element, row, strip))

    def _in_block(self, part: Part, base: str, element: str, row: str | int, strip: int) -> str:
        code, plan = part.code, self.plan
        line = code.element(base, element, code.multiply(row, plan.width))
        return code.element(line, element, strip * plan.lanes)

    def _address(self, part: Part, key: tuple[object, ...]) -> str:
        return self.parts.layout.address(part.code, key)


def held_strips(part: Part, start: str) -> Iterator[tuple[Values, Chunk, Integer]]:
    """The unit's valid lanes, vector by vector: (values, chunk, where it is in the unit)."""
    return strips(part, part.plan.block, start, part.plan.width)


def strips(part: Part, axis: Axis, start: str, width: int) -> Iterator[tuple[Values, Chunk, Integer]]:
    """At most `width` positions of an axis, vector by vector: (values, chunk, how far it is from the start)."""
    code, plan, size = part.code, part.plan, axis.size
    lanes, rest = plan.lanes, size % plan.lanes
    valid = code.minimum(code.subtract(str(size), start), width)
    whole = code.let(f"and i64 {valid}, {-lanes}")
    if size >= lanes:
        with code.when(code.let(f"icmp sgt i64 {whole}, 0")), code.loop(0, whole, lanes) as strip:
            values = part.values(axis, lanes)
            yield values, values.chunk(Point(part.frame), code.add(start, strip.index), 0, lanes), strip.index
    if rest:
        with code.when(code.let(f"icmp slt i64 {whole}, {valid}")):
            values = part.values(axis, lanes)
            yield values, values.chunk(Point(part.frame), code.add(start, whole), 0, rest), whole


def sums_size(plan: Plan, number: int) -> int:
    """Elements of what an outer product comes to in a unit: panels of columns, each [held, columns of a tile]."""
    outer = next(o for o in plan.outers if o.number == number)
    return plan.columns(outer).count * plan.width * plan.sum_tile.columns


def _follow(s: Builder, old: Scalar, new: Scalar, factor: float) -> tuple[Scalar, Scalar]:
    """exp(factor·(new - old)), 1 for equal infinities too, and whether that may be another number than 1."""
    same = s.eq(old, new)
    return s.select(same, 1, s.exp((new - old) * factor)), ~same
