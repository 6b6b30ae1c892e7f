"""What the parts of a kernel that sums over scores are to each other, or why there is no lowering of it.

In: a kernel of kind ATTENTION. Out: `Roles`. Scores are a tile of rows, which a program holds, by points that it walks
along; all that is said of batches, heads or queries and keys follows from which operand varies over which axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeAlias

from graphc.cached import cached_property
from graphc.dataclass import dataclass, replace
from graphc.errors import UnsupportedError
from graphc.index import Axis, Index, axes_size
from graphc.kernel import Apply, Const, Dot, Kernel, Reduce, Scan, Store, dependencies
from graphc.scalar import Prim
from graphc.types import DType, float32

from ..kernels.masked import masked
from ..kernels.running import Form, Scaled, forms
from ..kernels.sweeps import needed
from .contraction import factors

LEAST = 16  # rows, columns and terms of the smallest product that `tl.dot` takes
ROWS = 64  # as many rows, of several axes if need be, as a program would like to hold
WIDEST = 256  # columns of a product that a program can hold
ONLY = Axis("only", 1)  # the row of scores that have none


@dataclass(frozen=True)
class Inner:
    """A product that scores are made of: of value `held`, which varies over rows, and `walked`, summed over `depth`."""

    number: int
    held: int
    walked: int
    depth: tuple[Axis, ...]
    dtype: DType


@dataclass(frozen=True)
class Outer:
    """A product of scores with value `other`, summed over what is walked; it has `columns` of its own, or none where
    the other one is a vector."""

    number: int
    scores: int
    other: int
    columns: tuple[Axis, ...]
    dtype: DType


@dataclass(frozen=True)
class Follower:
    """A sum that is made while the maximum `by` grows, and multiplied by exp(factor · (new − old)) where it does."""

    number: int
    by: int
    factor: float


@dataclass(frozen=True)
class Sweep:
    """One walk along the scores: sums that need nothing of it, sums that follow these, and stores of scores."""

    first: tuple[int, ...]
    followers: tuple[Follower, ...]
    stores: tuple[Store, ...]


@dataclass(frozen=True)
class Bounds:
    """What must be ≥ 0 somewhere in a block of scores, or a walk leaves it out: as long as all values of `held`, of
    rows, and of `walked`, of points of the walk, are finite, and `divisors` among them not 0. Where one of `later` is
    not so in the end, all of a row is masked, and what is masked counts as the kernel says: sums that follow maxima are
    then made once more."""

    conditions: tuple[Index, ...]
    held: tuple[int, ...]
    walked: tuple[int, ...]
    later: tuple[int, ...]
    divisors: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Roles:
    """A kernel, and what its parts are. `around`: axes that are summed over besides those walked along. `spread`:
    groups of axes that no value varies over, and only stores are at."""

    kernel: Kernel
    batch: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    walk: tuple[Axis, ...]
    around: tuple[Axis, ...]
    inners: tuple[Inner, ...]
    outers: tuple[Outer, ...]
    spread: tuple[tuple[Axis, ...], ...]

    @cached_property
    def summed(self) -> frozenset[Axis]:
        return frozenset((*self.walk, *self.around))

    @cached_property
    def columns(self) -> tuple[tuple[Axis, ...], ...]:
        """Groups of axes, each of which some results go along besides rows."""
        return tuple(dict.fromkeys(o.columns for o in self.outers if o.columns)) + self.spread

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """For each value, how many walks must be over before it can be computed."""
        sums = {*(o.number for o in self.outers), *_reduces(self.kernel)}
        result: list[int] = []
        for number, value in enumerate(self.kernel.values):
            below = max((result[i] for i in dependencies(value)), default=0)
            result.append(below + (number in sums))
        return tuple(result)

    @cached_property
    def sweeps(self) -> tuple[Sweep, ...]:
        """The walks. Sums of a level and of the next one are one walk where these can follow those."""
        kernel, found = self.kernel, []
        sums = sorted((*(o.number for o in self.outers), *_reduces(kernel)))
        along = [s for s in kernel.stores if self.is_along(s)]
        last = max([self.levels[n] for n in sums] + [1 + self.levels[s.value] for s in along])
        level = 1
        while level <= last:
            first = tuple(n for n in sums if self.levels[n] == level)
            stores = tuple(s for s in along if self.levels[s.value] == level - 1)
            after = [n for n in sums if self.levels[n] == level + 1]
            following = [self._follower(n) for n in after]
            follow = tuple(f for f in following if f is not None)
            if after and len(follow) == len(after) and not any(self.levels[s.value] == level for s in along):
                found.append(Sweep(first, follow, stores))
                level += 2
            else:
                found.append(Sweep(first, (), stores))
                level += 1
        return tuple(found)

    def bounds_of(self, sweep: Sweep) -> Bounds:
        """Which blocks of scores a walk may leave out."""
        kernel, found = self.kernel, masked(self.kernel)
        sums = [*sweep.first, *(f.number for f in sweep.followers)]
        inputs = [i for n in sums for i in dependencies(kernel.values[n])] + [s.value for s in sweep.stores]
        relevant, behind = {*needed(kernel, inputs)}, _made_of(kernel, sweep.first)
        suspects = (*found.finite, *found.divisors)
        finite = [n for n in suspects if n in relevant and _matters(kernel, n, self.summed)]
        later = tuple(dict.fromkeys(n for n in finite if n in behind))
        nothing = tuple(dict.fromkeys(f.by for f in sweep.followers if not _is_guarded(kernel, f.by)))
        before = [n for n in finite if n not in behind]
        walked = tuple(n for n in before if kernel.axes[n] & self.summed)
        held = tuple(n for n in before if n not in walked)
        own, along = {*self.batch, *self.rows}, {*self.batch, *self.summed}
        fitting = all(kernel.axes[n] <= own for n in (*held, *later)) and all(kernel.axes[n] <= along for n in walked)
        if not fitting or (later and not sweep.followers):
            return Bounds((), (), (), nothing)
        both = tuple(dict.fromkeys((*later, *nothing)))
        return Bounds(found.conditions, held, walked, both, frozenset(found.divisors))

    def is_along(self, store: Store) -> bool:
        """Whether scores themselves are stored."""
        return bool((self.kernel.axes[store.value] | store.index.axes) & self.summed)

    @cached_property
    def _forms(self) -> tuple[Form, ...]:
        return forms(self.kernel, self.summed)

    def _follower(self, number: int) -> Follower | None:
        """How a sum follows a maximum, if it can: it adds up w·exp(c·g) with c < 0 and g that grows from −inf on."""
        value = self.kernel.values[number]
        if isinstance(value, Reduce):
            if [s.prim for s in value.combine.steps] != [Prim.ADD] or value.init[0].value != 0:
                return None
            scores = value.inputs[0]
        else:
            scores = next(o.scores for o in self.outers if o.number == number)
        form = self._forms[scores]
        if not isinstance(form, Scaled) or form.factor >= 0:
            return None
        return Follower(number, form.by, form.factor) if self._grows(form.by) else None

    def _grows(self, number: int) -> bool:
        """Whether all that a value of rows depends on are maxima."""
        value = self.kernel.values[number]
        if isinstance(value, Reduce):
            return [s.prim for s in value.combine.steps] == [Prim.MAX]
        if isinstance(value, Dot):
            return False
        return all(self._grows(i) for i in dependencies(value))


def why_refused(kernel: Kernel) -> str | None:
    """Why there is no lowering of a kernel of kind ATTENTION; None where there is one."""
    try:
        roles = roles_of(kernel)
    except UnsupportedError as error:
        return str(error.got)
    if not roles.outers and any(map(roles.is_along, kernel.stores)):
        return "rows of a product that are stored, since each pass over them would compute the product again"
    return None


def roles_of(kernel: Kernel) -> Roles:
    """Raises UnsupportedError for a kernel that there is no lowering of."""
    dots = {n: v for n, v in enumerate(kernel.values) if isinstance(v, Dot)}
    scored = _made_of(kernel, dots)
    inner = [n for n, v in dots.items() if not any(i in scored for i in v.inputs)]
    outer = [n for n in dots if n not in inner]
    reduces = _reduces(kernel)
    _refuse(any(isinstance(v, Scan) for v in kernel.values), "a cumulative value of scores")
    _refuse(kernel.accumulates or any(s.scatter for s in kernel.stores), "a store that sums")
    _refuse(any(a.size == 0 for a in (*kernel.parallel, *kernel.row, *kernel.contracted)), "an axis of size 0")
    _refuse(any(v.dtype is not float32 for v in dots.values()), "products summed in another dtype than float32")
    _refuse(any(n not in scored for n in reduces), "a reduction of what is no score")
    reduced = {frozenset(kernel.values[n].axes) for n in (*outer, *reduces)}  # type: ignore[union-attr]
    _refuse(len(reduced) != 1, "sums over different axes of the scores")
    (summed,) = reduced
    walk = _walk(kernel, [dots[n] for n in inner], summed)
    inners = tuple(_inner(kernel, n, dots[n], walk[-1]) for n in inner)
    outers = tuple(_outer(kernel, n, dots[n], scored) for n in outer)
    rows = _rows(kernel, inners, outers, summed)
    spread = _spread(kernel, rows)
    columns = {a for group in (*(o.columns for o in outers), *spread) for a in group}
    of_scores = frozenset().union(*(kernel.axes[n] for n in inner))
    batch = tuple(a for a in kernel.parallel if a not in rows and a not in columns)
    _refuse(bool(columns & of_scores), "a product whose columns are an axis of the scores")
    around = tuple(a for a in (*kernel.row, *kernel.contracted) if a in summed and a not in walk)
    found = Roles(kernel, batch, rows, walk, around, inners, outers, spread)
    _refuse(any(axes_size(c) > WIDEST for c in found.columns), f"a product of more than {WIDEST} columns")
    for store in kernel.stores:
        used = (kernel.axes[store.value] | store.index.axes) & columns
        _refuse(all(not used <= set(o) for o in found.columns) and bool(used), "a store over columns of two products")
        _refuse(bool(used) and found.is_along(store), "a store of scores over columns of a product")
    return found


def with_rows(kernel: Kernel) -> Kernel:
    """The kernel with one row more than it has, where it has none: stores say that they are at it."""
    if roles_of(kernel).rows:
        return kernel
    stores = tuple(replace(s, index=s.index + Index(((ONLY, 1),))) for s in kernel.stores)
    return replace(kernel, parallel=(*kernel.parallel, ONLY), stores=stores)


def _refuse(condition: bool, reason: str) -> None:
    if condition:
        raise UnsupportedError(
            "the triton backend has no lowering of this kernel that sums over scores",
            got=reason,
            hint="store the products in kernels of their own",
        )


def _reduces(kernel: Kernel) -> list[int]:
    return [n for n, v in enumerate(kernel.values) if isinstance(v, Reduce)]


def _made_of(kernel: Kernel, numbers: Iterable[int]) -> frozenset[int]:
    """Values that depend on some, and those themselves."""
    found = set(numbers)
    for number, value in enumerate(kernel.values):
        if any(i in found for i in dependencies(value)):
            found.add(number)
    return frozenset(found)


def _is_guarded(kernel: Kernel, number: int) -> bool:
    """Whether a value is another one, or a finite number where that is −inf: chosen in one recipe, or by another."""
    value = kernel.values[number]
    if not isinstance(value, Apply) or not value.recipe.steps:
        return False
    recipe, last = value.recipe, len(value.recipe.params) + len(value.recipe.steps) - 1
    if recipe.steps[-1].prim is not Prim.SELECT or recipe.results != (last,):
        return False
    mask, first, other = (_operand(kernel, value, i) for i in recipe.steps[-1].inputs)
    if not isinstance(first, float) or not math.isfinite(first) or not isinstance(mask, tuple):
        return False
    return other in mask and -math.inf in mask


Operand: TypeAlias = "float | int | tuple[Operand, ...] | None"  # a constant, a value's number, what is compared


def _operand(kernel: Kernel, value: Apply, number: int) -> Operand:
    """What a recipe's parameter or step is."""
    count = len(value.recipe.params)
    if number >= count:
        step = value.recipe.steps[number - count]
        if step.prim is Prim.CONST:
            return float(step.value)
        is_comparison = step.prim is Prim.EQ
        return tuple(_operand(kernel, value, i) for i in step.inputs) if is_comparison else None
    behind = kernel.values[value.inputs[number]]
    if isinstance(behind, Const):
        return float(behind.value)
    if isinstance(behind, Apply) and [s.prim for s in behind.recipe.steps if s.prim is not Prim.CONST] == [Prim.EQ]:
        return _operand(kernel, behind, len(behind.recipe.params) + len(behind.recipe.steps) - 1)
    return value.inputs[number]


def _matters(kernel: Kernel, number: int, summed: frozenset[Axis]) -> bool:
    """Whether scores see that a value is −inf: on some way to them nothing stands guard."""
    of_products = _made_of(kernel, [n for n, v in enumerate(kernel.values) if isinstance(v, Dot)])
    scores = {n for n in of_products if kernel.axes[n] & summed}
    found = set() if _is_guarded(kernel, number) else {number}
    for user in range(number + 1, len(kernel.values)):
        if any(i in found for i in dependencies(kernel.values[user])) and not _is_guarded(kernel, user):
            found.add(user)
    return bool(found & scores)


def _walk(kernel: Kernel, inner: list[Dot], summed: frozenset[Axis]) -> tuple[Axis, ...]:
    """The longest axis that one side only of each inner product has."""
    ordered = [a for a in (*kernel.row, *kernel.contracted) if a in summed]
    fitting = [a for a in ordered if all(_side(kernel, dot, a) is not None for dot in inner)]
    _refuse(not fitting, "scores without an axis to walk along")
    return (max(fitting, key=lambda a: a.size),)


def _side(kernel: Kernel, dot: Dot, axis: Axis) -> int | None:
    """Which of a product's inputs is the only one that varies over an axis."""
    has = [axis in kernel.axes[i] for i in dot.inputs]
    return has.index(True) if sum(has) == 1 else None


def _inner(kernel: Kernel, number: int, dot: Dot, walk: Axis) -> Inner:
    side = _side(kernel, dot, walk)
    assert side is not None
    a, b, dtype = factors(kernel, dot)
    walked, held = (a, b) if side == 0 else (b, a)
    return Inner(number, held, walked, dot.axes, dtype)


def _outer(kernel: Kernel, number: int, dot: Dot, scored: frozenset[int]) -> Outer:
    sides = [i in scored for i in dot.inputs]
    _refuse(all(sides), "a product of scores with scores")
    a, b, dtype = factors(kernel, dot)
    scores, other = (a, b) if sides[0] else (b, a)
    columns = tuple(a for a in kernel.parallel if a in kernel.axes[other] and a not in kernel.axes[scores])
    return Outer(number, scores, other, columns, dtype)


def _spread(kernel: Kernel, rows: tuple[Axis, ...]) -> tuple[tuple[Axis, ...], ...]:
    varied = frozenset(rows).union(*kernel.axes)
    alone = [tuple(a for a in kernel.parallel if a in s.index.axes and a not in varied) for s in kernel.stores]
    return tuple(dict.fromkeys(group for group in alone if group))


def _rows(
    kernel: Kernel, inners: tuple[Inner, ...], outers: tuple[Outer, ...], summed: frozenset[Axis]
) -> tuple[Axis, ...]:
    """The axes of the scores that only what is held varies over: the last of them, and more if that is short."""
    own = frozenset().union(*(kernel.axes[i.number] for i in inners))
    others = frozenset().union(*(kernel.axes[i.walked] for i in inners), *(kernel.axes[o.other] for o in outers))
    fitting = [a for a in kernel.parallel if a in own and a not in others and a not in summed]
    if not fitting:
        return (ONLY,) if ONLY in kernel.parallel else ()
    count = 1
    while count < len(fitting) and axes_size(fitting[-count:]) < ROWS:
        count += 1
    return tuple(fitting[-count:])
