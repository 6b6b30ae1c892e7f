"""How a kernel that sums over products is carried out: which axis runs across lanes, which is walked in blocks, and
what is computed in which pass over a block of scores.

In: a kernel of kind ATTENTION, and a target. Out: a `Plan`, or the reason why there is none. Emits nothing. Nothing
here depends on the number of threads, so results don't either.

A work unit holds a block of one axis of the scores (the queries; for gradients of keys, the keys) and walks along the
other. A block of scores lies in the unit's memory as [walked, held], so that whatever is said of the held axis'
elements is said lane by lane: maxima, sums and masks need no step across lanes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from graphc.cached import cached_property
from graphc.dataclass import dataclass
from graphc.index import Axis, Index, axes_size
from graphc.kernel import Dot, Inside, Kernel, Load, Position, Reduce, Scan, Store, dependencies
from graphc.scalar import Prim
from graphc.types import DType, float32, float64

from ...kernels.masked import Masked, masked
from ...kernels.running import Form, Free, Scaled, forms
from ...kernels.sums import dots_as_sums
from ...kernels.sweeps import needed
from ..products.blocking import UNIT_NS, UNIT_WORK, Tiling
from ..products.microkernel import MOST_ROWS, Tile, register_tile
from ..target import Target

WALKED = 128  # scores of a column of a block: with what they are multiplied by, they stay in the first two caches
MOST_MEMORY = 1 << 20  # bytes of a thread's stack that a unit works in
LEAST_HELD = 4  # of fewer rows, most lanes would be empty
GRAIN_WORK = UNIT_WORK  # multiply-adds: the least that is worth handing out


@dataclass(frozen=True)
class Inner:
    """A product that scores are made of: value `walked` times value `held`, summed over `depth`."""

    number: int
    walked: int
    held: int
    depth: Axis


@dataclass(frozen=True)
class Outer:
    """A product of scores and of value `other`, summed over what is walked; it has an axis of its own, `columns`."""

    number: int
    scores: int
    other: int
    columns: Axis


@dataclass(frozen=True)
class Pass:
    """What is done with a block of scores: `reduces` take it in, `results` are put into memory."""

    reduces: tuple[int, ...]
    results: tuple[int, ...]


@dataclass(frozen=True)
class Suspect:
    """A value of rows: masked scores count where it is not finite, or, of a divisor, 0 or NaN."""

    number: int
    is_divisor: bool = False


@dataclass(frozen=True)
class Plan:
    """How an attention kernel is carried out.

    A unit is a block of `block` at one point of the axes `outer`. It walks along `walk`, once for each point of the
    axes `around`, which are summed over as well. Reductions are `first`, found in a pass over each block of scores
    before those that depend on them (`second`): sums that follow `first` while that grows.
    """

    kernel: Kernel
    target: Target
    dtype: DType
    block: Axis
    walk: Axis
    around: tuple[Axis, ...]
    outer: tuple[Axis, ...]
    inners: tuple[Inner, ...]
    outers: tuple[Outer, ...]
    first: tuple[int, ...]
    second: tuple[int, ...]
    forms: tuple[Form, ...]
    masked: Masked

    @cached_property
    def tile(self) -> Tile:
        """The register tile of scores: walked by held."""
        full = register_tile(self.target, self.dtype, MOST_ROWS)
        vectors = -(-self.block.size // full.lanes)
        return Tile(MOST_ROWS, -(-vectors // -(-vectors // full.vectors)), full.lanes)

    @cached_property
    def sum_tile(self) -> Tile:
        """The register tile of outer products: held by columns."""
        return register_tile(self.target, self.dtype, MOST_ROWS)

    @property
    def lanes(self) -> int:
        return self.tile.lanes

    @property
    def width(self) -> int:
        """Elements of `block` that a unit holds."""
        return self.tile.columns

    @property
    def blocks(self) -> int:
        return -(-self.block.size // self.width)

    @property
    def units(self) -> int:
        return axes_size(self.outer) * self.blocks

    @cached_property
    def rows(self) -> Tiling:
        """The walked axis as tiles of scores."""
        return Tiling.evenly(self.walk.size, MOST_ROWS)

    @cached_property
    def held_rows(self) -> Tiling:
        """A unit's block as rows of outer products' tiles."""
        return Tiling.evenly(self.width, MOST_ROWS)

    @property
    def block_tiles(self) -> int:
        """Tiles of scores, one below the other, of a block."""
        return max(1, min(self.rows.count, WALKED // self.rows.first))

    @property
    def block_rows(self) -> int:
        """The most that a block is long along the walked axis."""
        return self.block_tiles * self.rows.first

    def columns(self, outer: Outer) -> Tiling:
        return Tiling.with_rest(outer.columns.size, self.sum_tile.columns)

    @cached_property
    def walked_axes(self) -> frozenset[Axis]:
        return frozenset((self.walk, *self.around))

    @property
    def conditions(self) -> tuple[Index, ...]:
        """What must be ≥ 0 somewhere in a tile, or there is nothing in it."""
        return self.masked.conditions

    @cached_property
    def scaled(self) -> tuple[Scaled, ...]:
        """The ways in which sums follow what grows."""
        found = [self.forms[self.kernel.values[n].inputs[0]] for n in self.second]
        found += [self.forms[o.scores] for o in self.outers]
        return tuple(dict.fromkeys(f for f in found if isinstance(f, Scaled)))

    @cached_property
    def known_first(self) -> tuple[Suspect, ...]:
        """What is known of rows from the start."""
        behind = made_of(self.kernel, self.reductions)
        return tuple(s for s in self._suspects if s.number not in behind)

    @cached_property
    def known_last(self) -> tuple[Suspect, ...]:
        """What is known of rows in the end, and what scores were taken relative to."""
        behind = made_of(self.kernel, self.reductions)
        found = [s for s in self._suspects if s.number in behind]
        return tuple(dict.fromkeys([*found, *(Suspect(f.by) for f in self.scaled)]))

    @property
    def _suspects(self) -> Iterator[Suspect]:
        yield from (Suspect(n) for n in self.masked.finite)
        yield from (Suspect(n, True) for n in self.masked.divisors)

    @cached_property
    def reductions(self) -> tuple[int, ...]:
        return (*self.first, *self.second)

    @cached_property
    def summed(self) -> tuple[int, ...]:
        """What is known when all is walked."""
        return (*self.reductions, *(o.number for o in self.outers))

    @cached_property
    def scores(self) -> tuple[int, ...]:
        """The values that outer products multiply, each once."""
        return tuple(dict.fromkeys(o.scores for o in self.outers))

    def columns_of(self, store: Store) -> Axis | None:
        """The axis that a store goes along besides those of the scores: mostly an outer product's."""
        axes = (self.kernel.axes[store.value] | store.index.axes) - {self.block, *self.outer}
        return next(iter(axes), None)

    @cached_property
    def leaves(self) -> tuple[int, ...]:
        """Loads that differ from score to score."""
        return tuple(n for n in self._of_scores if self._is_leaf(n))

    @cached_property
    def row_values(self) -> tuple[int, ...]:
        """What scores are computed with that is the same all along the walk, but differs between lanes."""
        kernel, found = self.kernel, self._of_scores
        behind = made_of(kernel, self.reductions)
        own = {n for n in found if self._is_row(n) and n not in behind}
        used = {i for n in found if n not in own and n not in self.leaves for i in dependencies(kernel.values[n])}
        return tuple(n for n in sorted(own & used) if not isinstance(kernel.values[n], Position | Inside))

    def _is_row(self, number: int) -> bool:
        axes = self.kernel.axes[number]
        return self.block in axes and not axes & self.walked_axes

    @cached_property
    def _of_scores(self) -> tuple[int, ...]:
        roots = [*self.scores, *(i for r in self.reductions for i in dependencies(self.kernel.values[r]))]
        leaves = [n for n in range(len(self.kernel.values)) if self._is_leaf(n)]
        return needed(self.kernel, roots, (*leaves, *(i.number for i in self.inners)))

    def _is_leaf(self, number: int) -> bool:
        both = frozenset((self.block, self.walk))
        return isinstance(self.kernel.values[number], Load) and both <= self.kernel.axes[number]

    @cached_property
    def passes(self) -> tuple[Pass, ...]:
        """What is done with a block of scores: first reductions, then what follows them, where something does."""
        behind = made_of(self.kernel, self.first)
        if not any(n in behind for n in (*self.second, *self.scores)):
            return (Pass(self.first, self.scores),)
        return Pass(self.first, self._kept), Pass(self.second, self.scores)

    @cached_property
    def _kept(self) -> tuple[int, ...]:
        """What the first pass reduces and the second computes with again: kept in place of the product that it is
        made of, where only it needs that."""
        kernel, inner = self.kernel, {i.number for i in self.inners}
        found = dict.fromkeys(i for n in self.first for i in kernel.values[n].inputs if i not in inner)
        roots = [*self.scores, *(i for n in self.second for i in dependencies(kernel.values[n]))]
        for number in found:
            below = inner & set(needed(kernel, [number], inner))
            if number in needed(kernel, roots) and below and not below & set(needed(kernel, roots, [number])):
                return (number,)
        return ()

    @property
    def memory(self) -> int:
        """About so many bytes a unit works in."""
        depths, columns = (i.depth.size for i in self.inners), (o.columns.size for o in self.outers)
        buffers = len(self.inners) + len(self.outers) + len(self.leaves)
        sizes = (sum(depths) + sum(columns) + self.lanes) * (self.width + self.block_rows), buffers * self.block_rows
        return self.dtype.itemsize * (sizes[0] + sizes[1] * self.width)

    @property
    def work(self) -> int:
        """Multiply-adds, were nothing masked."""
        points = axes_size((*self.outer, self.block, self.walk, *self.around))
        return points * (sum(i.depth.size for i in self.inners) + sum(o.columns.size for o in self.outers))

    @property
    def cost_ns(self) -> float:
        """What one thread takes, roughly."""
        live = 1.0 if not self.conditions else 0.6
        return live * self.work / UNIT_WORK * UNIT_NS * 1.3

    @property
    def serial(self) -> bool:
        return self.work < 2 * UNIT_WORK

    @property
    def grain(self) -> int:
        return max(1, min(self.units, GRAIN_WORK * self.units // max(1, self.work)))

    @cached_property
    def descends(self) -> bool:
        """Whether blocks at the end have more to do than those at the start, so that they come first."""
        last = max(0, self.block.size - self.width)
        return self.live(last) > self.live(0)

    def live(self, start: int) -> int:
        """How far a unit walks whose block begins at `start`, other axes at 0."""
        low, high = 0, self.walk.size
        end = min(start + self.width, self.block.size) - 1
        for condition in self.conditions:
            along, across = condition.coefficient(self.walk), condition.coefficient(self.block)
            rest = condition.constant + across * (end if across > 0 else start)
            if along == 1:
                low = max(low, -rest)
            elif along == -1:
                high = min(high, rest + 1)
        return max(0, high - low)

    def __str__(self) -> str:
        sums = " + ".join(f"{n}·{length}" for n, length in self.rows.parts)
        return (
            f"units of {self.width} {self.block.name}, walking {self.walk.name}:{sums} in blocks of {self.block_rows}, "
            f"{len(self.inners)} inner and {len(self.outers)} outer products, {self.units} units"
        )


class _Refused(Exception):
    """Why a kernel has no plan."""


def plan_attention(kernel: Kernel, target: Target) -> Plan | str:
    """The plan, or why there is none."""
    thin = _thin_products(kernel)
    try:
        return _plan(dots_as_sums(kernel, thin) if thin else kernel, target)
    except _Refused as refused:
        return str(refused)


def _thin_products(kernel: Kernel) -> tuple[int, ...]:
    """Products of scores with what has no axis that they have not: sums, as are those of weights alone."""
    behind = made_of(kernel, (n for n, v in enumerate(kernel.values) if isinstance(v, Dot)))
    found = []
    for number, value in enumerate(kernel.values):
        if isinstance(value, Dot) and not behind.isdisjoint(value.inputs):
            a, b = (kernel.axes[i] for i in value.inputs)
            if a <= b or b <= a:
                found.append(number)
    return tuple(found)


def _plan(kernel: Kernel, target: Target) -> Plan:
    behind = made_of(kernel, (n for n, v in enumerate(kernel.values) if isinstance(v, Dot)))
    dots = {n: v for n, v in enumerate(kernel.values) if isinstance(v, Dot)}
    reduces = {n: v for n, v in enumerate(kernel.values) if isinstance(v, Reduce)}
    _refuse(any(isinstance(v, Scan) for v in kernel.values), "a cumulative value of scores")
    _refuse(kernel.accumulates or any(s.scatter for s in kernel.stores), "a store that sums")
    _refuse(any(a.size == 0 for a in (*kernel.parallel, *kernel.row, *kernel.contracted)), "an axis of size 0")
    inner = [n for n, v in dots.items() if not any(i in behind for i in v.inputs)]
    outer = [n for n in dots if n not in inner]
    _refuse(any(n not in behind for n in reduces), "a reduction of what is no score")
    dtypes = {v.dtype for v in dots.values()}
    _refuse(len(dtypes) > 1 or not dtypes <= {float32, float64}, "products summed in several dtypes, or in integers")
    reduced = {frozenset(kernel.values[n].axes) for n in (*outer, *reduces)}  # type: ignore[union-attr]
    _refuse(len(reduced) != 1, "sums over different axes of the scores")
    (walked,) = reduced
    walk = _walk(kernel, [dots[n] for n in inner], walked)
    block = _block(kernel, [dots[n] for n in inner], walk, walked)
    inners = tuple(_inner(kernel, n, dots[n], walk, block) for n in inner)
    outers = tuple(_outer(kernel, n, dots[n], behind, walk, block) for n in outer)
    axes = frozenset(a for n in inner for a in kernel.axes[n]) - walked - {block}
    for o in outers:
        _refuse(bool(kernel.axes[o.number] - axes - {block, o.columns}), "an outer product of several axes of its own")
    first, second = _phases(kernel, reduces, outers)
    plan = Plan(
        kernel, target, next(iter(dtypes)), block, walk, tuple(a for a in _in_order(kernel) if a in walked - {walk}),
        tuple(a for a in kernel.parallel if a in axes), inners, outers, first, second,
        forms(kernel, walked), _masked(kernel, axes | walked | {block}),
    )  # fmt: skip
    _refuse(set(plan.outer) != axes, "an axis of the scores that is summed over elsewhere")
    _check_sums(plan)
    for store in kernel.stores:
        used = kernel.axes[store.value] | store.index.axes
        _refuse(bool(used & walked), "a store of scores")
        _refuse(len(used - axes - {block}) > 1, "a store along several axes that the scores have not")
    _refuse(block.size < LEAST_HELD, f"scores of {block.size} rows, which leave most lanes empty")
    _refuse(plan.memory > MOST_MEMORY, "products so wide that they leave the caches")
    return plan


def _masked(kernel: Kernel, axes: frozenset[Axis]) -> Masked:
    """What masks leave of the scores, if it can be told from values of their rows."""
    found = masked(kernel)
    used = (kernel.axes[n] for n in (*found.finite, *found.divisors))
    return found if all(a <= axes for a in used) else Masked((), (), ())


def _refuse(condition: bool, reason: str) -> None:
    if condition:
        raise _Refused(reason)


def _in_order(kernel: Kernel) -> tuple[Axis, ...]:
    return (*kernel.parallel, *kernel.row, *kernel.contracted)


def made_of(kernel: Kernel, numbers: Iterable[int]) -> frozenset[int]:
    """Values that depend on some, and those themselves."""
    found = set(numbers)
    for number, value in enumerate(kernel.values):
        if any(i in found for i in dependencies(value)):
            found.add(number)
    return frozenset(found)


def _walk(kernel: Kernel, inner: list[Dot], walked: frozenset[Axis]) -> Axis:
    """The longest axis that one side only of each inner product has."""
    fitting = [a for a in _in_order(kernel) if a in walked and all(_side(kernel, dot, a) is not None for dot in inner)]
    _refuse(not fitting, "scores without an axis to walk along")
    return max(fitting, key=lambda a: a.size)


def _block(kernel: Kernel, inner: list[Dot], walk: Axis, walked: frozenset[Axis]) -> Axis:
    """The longest axis that the other side only has."""
    fitting = [
        a
        for a in kernel.parallel
        if a not in walked
        and all(_side(kernel, dot, a) not in (None, _side(kernel, dot, walk)) for dot in inner)
    ]
    _refuse(not fitting, "scores of one row")
    return max(fitting, key=lambda a: a.size)


def _side(kernel: Kernel, dot: Dot, axis: Axis) -> int | None:
    """Which of a product's inputs is the only one that varies over an axis."""
    has = [axis in kernel.axes[i] for i in dot.inputs]
    return has.index(True) if sum(has) == 1 else None


def _inner(kernel: Kernel, number: int, dot: Dot, walk: Axis, block: Axis) -> Inner:
    _refuse(len(dot.axes) != 1, "an inner product over several axes")
    walked, held = _side(kernel, dot, walk), _side(kernel, dot, block)
    assert walked is not None and held is not None
    return Inner(number, dot.inputs[walked], dot.inputs[held], dot.axes[0])


def _outer(kernel: Kernel, number: int, dot: Dot, behind: frozenset[int], walk: Axis, block: Axis) -> Outer:
    sides = [i in behind for i in dot.inputs]
    _refuse(all(sides), "a product of scores with scores")
    scores, other = (dot.inputs[sides.index(x)] for x in (True, False))
    _refuse(not {walk, block} <= kernel.axes[scores] or walk not in kernel.axes[other], "a product with part of scores")
    own = [a for a in kernel.axes[other] if a not in kernel.axes[scores]]
    _refuse(len(own) != 1 or block in kernel.axes[other], "an outer product without columns of its own")
    return Outer(number, scores, other, own[0])


def _phases(
    kernel: Kernel, reduces: dict[int, Reduce], outers: tuple[Outer, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Reductions that depend on no other, and those that depend on these."""
    first = tuple(n for n, v in reduces.items() if not any(i in made_of(kernel, reduces) for i in v.inputs))
    behind_first = made_of(kernel, first)
    second = tuple(n for n in reduces if n not in first)
    deep = made_of(kernel, [*second, *(o.number for o in outers)])
    inputs = [*(i for n in second for i in reduces[n].inputs), *(o.scores for o in outers)]
    _refuse(any(i in deep for i in inputs), "scores that depend on sums of scores")
    _refuse(any(i not in behind_first for n in second for i in reduces[n].inputs), "reductions of two kinds of scores")
    return first, second


def _check_sums(plan: Plan) -> None:
    """Sums in the second pass must be such that they can follow what the first one finds."""
    kernel = plan.kernel
    for number in plan.second:
        value = kernel.values[number]
        assert isinstance(value, Reduce)
        is_sum = [s.prim for s in value.combine.steps] == [Prim.ADD] and value.init[0].value == 0
        _refuse(not is_sum or not _follows(plan, value.inputs[0]), "a reduction that can't follow a growing maximum")
    for outer in plan.outers:
        form = plan.forms[outer.scores]
        _refuse(not isinstance(form, Free) and not _follows(plan, outer.scores), "weights that can't follow a maximum")


def _follows(plan: Plan, number: int) -> bool:
    """Whether it is w·exp(c·g) with c < 0 and g of maxima only, which grow from −inf on."""
    form, kernel = plan.forms[number], plan.kernel
    if not isinstance(form, Scaled) or form.factor >= 0:
        return False
    below = needed(kernel, [form.by], plan.reductions)
    used = [kernel.values[n] for n in below if n in plan.reductions]
    return all(isinstance(v, Reduce) and _is_maximum(v) for v in used)


def _is_maximum(reduce: Reduce) -> bool:
    steps = [s.prim for s in reduce.combine.steps]
    return steps == [Prim.MAX] and reduce.dtype.is_float and not reduce.finish.steps and reduce.dtype.bits >= 32
