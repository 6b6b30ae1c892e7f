"""The running states of reductions: what is carried through a sweep over a row, and how it ends in one value.

In: the `Reduce` values of one sweep. Out: combining instructions, in an order that the shape alone decides.
A state may have several components (argmax: value and index); reductions that share a state carry it once.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.dataclass import dataclass
from graphc.kernel import Reduce, Scan
from graphc.scalar import Recipe
from graphc.types import DType

from ...kernels.long_sums import cut_loops, rounds
from ..emit.memory import Memory, first_lanes
from ..emit.primitives import Emitter
from ..emit.text import register_type
from .blocks import Blocks, Fold
from .places import Chunk
from .running import Runs
from .values import Values


@dataclass(frozen=True)
class _Registers(Fold):
    """States that loops carry along."""

    states: States

    def begin(self, level: int, outer: Sequence[str] = ()) -> list[str]:
        return [first for _, first in self.states.neutral()] + self.states.runs.begin(outer[self.states.width :])

    def join(self, level: int, outer: Sequence[str], inner: Sequence[str]) -> list[str]:
        width, runs = self.states.width, self.states.runs
        return self.states.joined(outer, inner) + runs.end(outer[width:], inner[width:])


class States:
    """The states of the reductions `numbers`, each held `copies` times so that combining them hides its latency; and
    behind them those of cumulative values, `runs`."""

    def __init__(self, values: Values, numbers: Sequence[int], copies: int, runs: Runs | None = None) -> None:
        self.runs = runs or Runs(values, (), 1, False)
        self.values = values
        self.copies = copies
        self.sharing: dict[tuple[Recipe, tuple[int, ...]], list[int]] = {}
        for number in numbers:
            reduce = self.reduce(number)
            self.sharing.setdefault((reduce.combine, reduce.inputs), []).append(number)

    def reduce(self, number: int) -> Reduce:
        value = self.values.kernel.values[number]
        assert isinstance(value, Reduce)
        return value

    @property
    def groups(self) -> list[Reduce]:
        """One reduction of each state."""
        return [self.reduce(numbers[0]) for numbers in self.sharing.values()]

    @property
    def inputs(self) -> list[int]:
        return [i for g in self.groups for i in g.inputs]

    def initial(self) -> list[tuple[str, str]]:
        """(type, first operand) of all that is carried."""
        return self.neutral() + self.runs.initial()

    @property
    def width(self) -> int:
        """How many registers are carried for reductions."""
        return self.copies * sum(len(g.init) for g in self.groups)

    def run(self, carried: list[str], chunk: Chunk, copy: int) -> None:
        """Compute the cumulative values at a chunk, the next of its copy's row."""
        self.runs.take(carried, self.width, chunk, copy)

    def neutral(self) -> list[tuple[str, str]]:
        """(type, first operand) of the reductions' states: for each group, for each copy, its components."""
        emitter = self.values.vectors
        once = [
            [(emitter.type(c.dtype), emitter.constant(c.bits, c.dtype)) for c in g.init] for g in self.groups
        ]
        return [component for state in once for _ in range(self.copies) for component in state]

    def combine(self, carried: list[str], chunk: Chunk, copy: int, masked: bool = True) -> None:
        """Take a chunk into one of the copies, in place. Where `masked`, lanes beyond its count leave it alone."""
        values, position = self.values, 0
        for group in self.groups:
            width = len(group.init)
            at = position + copy * width
            new = tuple(self._input(chunk, group, k, masked) for k in range(width))
            carried[at : at + width] = values.vectors.combine(group.combine, (*carried[at : at + width], *new))
            position += self.copies * width

    def lifted(self, chunk: Chunk) -> list[str]:
        """The states of a chunk's elements alone, all of them valid."""
        return [self.values.vector(chunk, i) for i in self.inputs]

    def joined(self, a: Sequence[str], b: Sequence[str]) -> list[str]:
        """Two sets of all that is carried, combined."""
        result: list[str] = []
        for group in self.groups:
            width = len(group.init)
            for _ in range(self.copies):
                at = slice(len(result), len(result) + width)
                result += self.values.vectors.recipe(group.combine, (*a[at], *b[at]))
        return result

    def blocks(self, counts: Sequence[int], terms: int = 1, fold: Fold | None = None) -> Blocks | None:
        """For loops of so many iterations, outermost first, that take in `terms` each; None where one block does."""
        carried: list[Reduce | Scan] = [*self.groups, *self.runs.scans]
        cuts = cut_loops(counts, terms) if any(map(rounds, carried)) else ()
        fold = fold or _Registers(self)
        return Blocks(self.values.code, cuts, fold) if any(c.lengths for c in cuts) else None

    def _input(self, chunk: Chunk, group: Reduce, component: int, masked: bool) -> str:
        values = self.values
        x = values.vector(chunk, group.inputs[component])
        if not masked or chunk.count == values.lanes:
            return x
        init = group.init[component]
        type_, mask = values.vectors.type(init.dtype), first_lanes(chunk.count, values.lanes)
        neutral = values.vectors.constant(init.bits, init.dtype)
        return values.code.let(f"select {values.memory.mask_type} {mask}, {type_} {x}, {type_} {neutral}")

    def copy_of(self, carried: Sequence[str], copy: int) -> list[tuple[str, ...]]:
        """The state of each group in one of the copies."""
        result, position = [], 0
        for group in self.groups:
            width = len(group.init)
            result.append(tuple(carried[position + copy * width : position + (copy + 1) * width]))
            position += self.copies * width
        return result

    def merged(self, carried: Sequence[str]) -> list[tuple[str, ...]]:
        """The copies of each group's state combined, in pairs of neighbours: still one state a lane."""
        result = []
        for group, *states in zip(
            self.groups, *(self.copy_of(carried, k) for k in range(self.copies)), strict=True
        ):
            while len(states) > 1:
                pairs = zip(states[::2], states[1::2], strict=False)
                odd = states[-1:] if len(states) % 2 else []
                states = [self.values.vectors.recipe(group.combine, (*a, *b)) for a, b in pairs] + odd
            result.append(states[0])
        return result

    def across(self, group: Reduce, state: tuple[str, ...]) -> tuple[str, ...]:
        """All lanes combined, upper half with lower half until one is left."""
        values, lanes = self.values, self.values.lanes
        dtypes = [c.dtype for c in group.init]
        while lanes > 1:
            half = lanes // 2
            lower = [self._part(x, d, lanes, 0) for x, d in zip(state, dtypes, strict=True)]
            upper = [self._part(x, d, lanes, half) for x, d in zip(state, dtypes, strict=True)]
            emitter = Emitter(values.code, values.target, half)
            state = emitter.recipe(group.combine, (*lower, *upper))
            lanes = half
        return state

    def _part(self, x: str, dtype: DType, lanes: int, start: int) -> str:
        """Half of the lanes, from `start` on."""
        type_, half = register_type(dtype, lanes), lanes // 2
        if half == 1:
            return self.values.code.let(f"extractelement {type_} {x}, i64 {start}")
        return Memory(self.values.code, half).shuffle(x, x, type_, range(start, start + half))

    def finished(self, states: Sequence[tuple[str, ...]], emitter: Emitter) -> dict[int, str]:
        """The value of each reduction."""
        result = {}
        for numbers, state in zip(self.sharing.values(), states, strict=True):
            for number in numbers:
                result[number] = emitter.recipe(self.reduce(number).finish, state)[0]
        return result
