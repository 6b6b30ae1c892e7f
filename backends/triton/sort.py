"""Sorting → Triton source. Blocks of rows are put in order by a network; of long rows the blocks are merged.

Of each block as many pairs are kept as are wanted. Where these are few, they are sorted as rows of their own, until
one block holds them all; where they are many, runs are merged two by two: each program finds by bisection where its
part of the merged run begins and ends in both, and one stage of the network merges the parts.
"""

from __future__ import annotations

from graphc.dataclass import dataclass
from graphc.errors import UnsupportedError
from graphc.kernel import Slot
from graphc.sort import Sort
from graphc.types import DType, float32, float64, int32, uint32, uint64

from .launches import KernelSource, Launch, Parameter, Role
from .plan import power_of_two
from .primitives import triton_dtype
from .text import Lines
from .values import INT32_SAFE

BLOCK = 2048  # pairs that a program orders: 8 a thread
WARP = 256  # pairs for each warp
PLACES = 1 << 31  # places are int32


def sort_source(call: Sort, block: int = BLOCK) -> KernelSource:
    """The Triton source of a sort. `block`: pairs a program orders, a power of two; for tests.

    Raises UnsupportedError for rows of 2^31 elements."""
    if call.size >= PLACES:
        raise UnsupportedError(
            "the triton backend sorts rows of less than 2^31 elements",
            got=str(call),
            hint='backend="llvm" sorts longer ones',
        )
    writer = _Writer(call, block)
    if call.written and call.rows and call.count:
        writer.write()
    return KernelSource(writer.module(), tuple(writer.launches), tuple(writer.scratch))


@dataclass(frozen=True)
class Runs:
    """Pairs in scratch memory: for each row, so many runs of so many pairs, each in order. Which scratch buffers."""

    count: int
    length: int
    keys: int

    @property
    def places(self) -> int:
        return self.keys + 1


class _Writer:
    """Collects the functions of one sort, pass by pass."""

    def __init__(self, call: Sort, block: int) -> None:
        self.call = call
        self.block = block
        self.launches: list[Launch] = []
        self.scratch: list[Slot] = []
        self.texts: list[str] = []
        self.key = uint64 if call.dtype.itemsize == 8 else uint32
        self.code = Lines()
        self.inputs: list[str] = []

    def module(self) -> str:
        functions = "float_key, goes_after, in_order, integer_key, share_of_first"
        used = ", ".join(f for f in functions.split(", ") if any(f"{f}(" in t for t in self.texts))
        head = "import triton\nimport triton.language as tl\n"
        if used:
            head += f"\nfrom graphc.backends.triton.sort_functions import {used}\n"
        return "\n\n".join([head, *self.texts])

    def write(self) -> None:
        runs: Runs | None = None
        entries = self.call.size
        while True:
            runs, entries = self._blocks(runs, entries)
            if runs is None:
                return
            if 2 * runs.length > self.block:
                break
        while runs is not None:
            runs = self._merge(runs)

    def _blocks(self, source: Runs | None, entries: int) -> tuple[Runs | None, int]:
        """Put blocks of each row of so many pairs in order, those of the elements themselves where there is no source.
        Short rows share a program. None if that was all."""
        call, code = self.call, self._begin()
        wide = min(self.block, power_of_two(entries))
        chunks = -(-entries // wide)
        rows = 1 if chunks > 1 else min(power_of_two(call.rows), self.block // wide)
        kept = min(wide, call.count)
        wide_index = self._is_wide(max(entries, chunks * kept))
        code.line(f"pid = tl.program_id(0){'.to(tl.int64)' if wide_index else ''}")
        code.line(f"lane = tl.arange(0, {rows * wide})")
        if chunks > 1:
            code.line(f"row, chunk = pid // {chunks}, pid % {chunks}")
            code.line("at = lane")
            code.line(f"place = (chunk * {wide} + lane).to(tl.int32)")
            code.line(f"inside = place < {entries}")
        else:
            code.line(f"row = pid * {rows} + lane // {wide}")
            code.line(f"at = lane % {wide}")
            code.line("place = at")
            code.line(f"inside = (place < {entries}) & (row < {call.rows})")
        if source is None:
            code.line(f"x = tl.load(x_ptr + row * {entries} + place, mask=inside, other=0)")
            code.line(f"key = {self._key('x')}")
        else:
            code.line(f"here = row * {entries} + place")
            code.line("key = tl.load(keys_ptr + here, mask=inside, other=0)")
            code.line("place = tl.load(places_ptr + here, mask=inside, other=0)")
        code.line(f"key = tl.where(inside, key, {self._greatest})")
        code.line(f"place = tl.where(inside, place, {call.size})")
        code.line(f"key, place = in_order(key, place, 1, {wide.bit_length() - 1})")
        programs, warps = -(-call.rows // rows) * chunks, _warps(rows * wide)
        if chunks == 1:
            code.line(f"kept = (at < {kept}) & (row < {call.rows})")
            self._finish("sort_rows", source, programs, warps)
            return None, kept
        code.line(f"kept = at < {kept}")
        code.line(f"there = (row * {chunks} + chunk) * {kept} + at")
        return self._keep("sort_blocks", source, Runs(chunks, kept, 0), programs, warps), chunks * kept

    def _merge(self, source: Runs) -> Runs | None:
        """Merge runs two by two. None if that was all."""
        call, code, size = self.call, self._begin(), source.length
        pairs, length = -(-source.count // 2), min(2 * size, call.count)
        wide = min(self.block, power_of_two(length))
        blocks = -(-length // wide)
        wide_index = self._is_wide(max(source.count * size, pairs * length))
        code.line(f"pid = tl.program_id(0){'.to(tl.int64)' if wide_index else ''}")
        code.line(f"row, pair = pid // {blocks * pairs}, pid // {blocks} % {pairs}")
        code.line(f"start = pid % {blocks} * {wide}")
        code.line(f"first = (row * {source.count} + 2 * pair) * {size}")
        code.line(f"second = first + {size}")
        code.line("ends = tl.arange(0, 2)")
        total = str(2 * size)
        if source.count % 2:  # the last run has no other: the first then is both, and nothing of the second is taken
            code.line(f"is_alone = pair == {pairs - 1}")
            code.line("second = tl.where(is_alone, first, second)")
            code.line(f"total = tl.where(is_alone, {size}, {2 * size})")
            total = "total"
        code.line(f"edges = tl.minimum(start + ends * {wide}, {total})")
        code.line(
            f"shares = share_of_first(keys_ptr, places_ptr, first, second, {size}, edges, {size.bit_length()})"
        )
        if source.count % 2:
            code.line("shares = tl.where(is_alone, edges, shares)")
        for name, values in (("first", "shares"), ("second", "edges - shares")):
            code.line(f"{name}_from = tl.sum(tl.where(ends == 0, {values}, 0), 0)")
            code.line(f"{name}_size = tl.sum(tl.where(ends == 1, {values}, 0), 0) - {name}_from")
        code.line(f"lane = tl.arange(0, {wide})")
        code.comment("up, then padding, then down: what one stage of the network puts in order")
        code.line("is_first = lane < first_size")
        code.line(f"back = {wide - 1} - lane")
        code.line("inside = is_first | (back < second_size)")
        code.line("here = tl.where(is_first, first + first_from + lane, second + second_from + back)")
        code.line(f"key = tl.load(keys_ptr + here, mask=inside, other={self._greatest_number})")
        code.line(f"place = tl.load(places_ptr + here, mask=inside, other={call.size})")
        stage = wide.bit_length() - 1
        if stage:
            code.line(f"key, place = in_order(key, place, {stage}, {stage})")
        code.line("at = start + lane")
        code.line(f"kept = at < {length}")
        programs = call.rows * pairs * blocks
        if pairs == 1:
            self._finish("merge_runs", source, programs, _warps(wide))
            return None
        code.line(f"there = (row * {pairs} + pair) * {length} + at")
        return self._keep("merge_runs", source, Runs(pairs, length, 0), programs, _warps(wide))

    # What passes begin and end with

    def _begin(self) -> Lines:
        self.code = Lines()
        return self.code

    def _finish(self, name: str, source: Runs | None, programs: int, warps: int) -> None:
        """Store the results. Values are looked up: what a key stands for may be either zero, or any NaN."""
        call, code = self.call, self.code
        parameters, pointers = self._sources(source)
        if call.values:
            if source is not None:
                parameters.append(Parameter(Role.SLOT, 0, call.dtype))
                pointers.append("x_ptr")
            code.line(f"value = tl.load(x_ptr + row * {call.size} + place, mask=kept, other=0)")
            code.line(f"tl.store(values_ptr + row * {call.count} + at, value, mask=kept)")
            pointers.append("values_ptr")
        if call.indices:
            code.line(f"tl.store(indices_ptr + row * {call.count} + at, place.to(tl.int64), mask=kept)")
            pointers.append("indices_ptr")
        parameters += [Parameter(Role.SLOT, n, s.dtype) for n, s in enumerate(call.slots) if n]
        self._function(name, parameters, pointers, programs, warps)

    def _keep(self, name: str, source: Runs | None, runs: Runs, programs: int, warps: int) -> Runs:
        """Store pairs to scratch memory that the pass does not read."""
        code, parameters, pointers = self.code, *self._sources(source)
        first = 2 if source is not None and source.keys == 0 else 0
        size = self.call.rows * runs.count * runs.length
        for number, dtype in ((first, self.key), (first + 1, int32)):
            what = "places" if number % 2 else "keys"
            slot = Slot(dtype, size, what)
            if number == len(self.scratch):
                self.scratch.append(slot)
            elif self.scratch[number].size < size:
                self.scratch[number] = slot
            parameters.append(Parameter(Role.SCRATCH, number, dtype))
            pointers.append(f"new_{what}_ptr")
            code.line(f"tl.store(new_{what}_ptr + there, {what.removesuffix('s')}, mask=kept)")
        self._function(name, parameters, pointers, programs, warps)
        return Runs(runs.count, runs.length, first)

    def _sources(self, source: Runs | None) -> tuple[list[Parameter], list[str]]:
        if source is None:
            return [Parameter(Role.SLOT, 0, self.call.dtype)], ["x_ptr"]
        keys = Parameter(Role.SCRATCH, source.keys, self.key)
        return [keys, Parameter(Role.SCRATCH, source.places, int32)], ["keys_ptr", "places_ptr"]

    def _function(
        self, name: str, parameters: list[Parameter], pointers: list[str], programs: int, warps: int
    ) -> None:
        name = f"{name}_{len(self.launches)}"
        comment = f"# {self.call}\n" if not self.launches else ""
        self.texts.append(comment + self.code.function(name, pointers))
        # One stage: nothing is loaded in a loop that could come early.
        self.launches.append(Launch(name, tuple(parameters), programs, warps, 1))

    # Texts

    def _is_wide(self, entries: int) -> bool:
        """Whether positions may not fit int32, tails of blocks included."""
        return self.call.rows * max(entries, self.call.size) + self.block >= INT32_SAFE

    @property
    def _greatest_number(self) -> int:
        return (1 << self.key.bits) - 1

    @property
    def _greatest(self) -> str:
        return f"tl.full((), {self._greatest_number}, {triton_dtype(self.key)})"

    def _key(self, x: str) -> str:
        """The key of an element: in the order wanted."""
        text = _ascending_key(x, self.call.dtype, self.key)
        return f"~{text}" if self.call.descending else text


def _ascending_key(x: str, dtype: DType, key: DType) -> str:
    bits, sign = key.bits, -(1 << (key.bits - 1))
    types = f"tl.int{bits}, tl.uint{bits}, {sign}"
    if dtype.is_float:
        wide = x if dtype in (float32, float64) else f"{x}.to(tl.float32)"
        return f"float_key({wide}, {types}, {bits})"
    if dtype.is_unsigned or dtype.is_bool:
        return f"{x}.to({triton_dtype(key)})"
    return f"integer_key({x}, {types})"


def _warps(lanes: int) -> int:
    return max(1, min(8, lanes // WARP))
