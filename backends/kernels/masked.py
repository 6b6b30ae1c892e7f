"""Where masks leave nothing of a kernel's scores: tiles that sums over products may skip.

In: a kernel that sums what was made of products. Out: affine expressions of its axes. Where one of them is negative,
each of those sums takes in its neutral element: an operand of the product is 0, a maximum sees -inf. They are found by
going through the kernel's values, supposing that one comparison fails. Knows no backend.

Products count as finite here: -inf stays -inf whatever of them is added, and 0 is 0 times that. What is masked is
never looked at, so what is not finite there does not show. Of values of rows it is said which have to be finite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from graphc.dataclass import dataclass
from graphc.index import Bound, Index
from graphc.kernel import Apply, Const, Dot, Inside, Kernel, Load, Position, Reduce, Value, dependencies
from graphc.scalar import Number, Prim, Step

Known: TypeAlias = "Index | float | bool | _Unknown | None"  # an affine integer, a number, a truth; None: anything


@dataclass(frozen=True)
class Masked:
    """`conditions`: affine expressions, all of which must be ≥ 0 somewhere in a tile, or there is nothing in it. That
    holds as long as the values `finite` are so, and the values `divisors` are not 0: maxima of rows, and what is made
    of them. Where a row is masked throughout, they may be -inf, and 0."""

    conditions: tuple[Index, ...]
    finite: tuple[int, ...]
    divisors: tuple[int, ...] = ()


def conditions(kernel: Kernel) -> tuple[Index, ...]:
    """The conditions that compare no value of a row with -inf."""
    return _found(kernel, False).conditions


def masked(kernel: Kernel) -> Masked:
    """All conditions."""
    return _found(kernel, True)


def _found(kernel: Kernel, compares: bool) -> Masked:
    found = _Knowledge(kernel, None)
    found.run()
    taken: dict[Index, _Knowledge] = {}
    for atom in dict.fromkeys(x for a in found.atoms for x in (a, a * -1 - 1)):  # and that it fails
        supposed = _Knowledge(kernel, atom, compares)
        supposed.run()
        if supposed.sums_nothing():
            taken[atom] = supposed
    kept = [a for a in taken if not any(_is_weaker(a, b) for b in taken)]
    finite = {n for a in kept for n in taken[a].used.rows}
    divisors = {n for a in kept for n in taken[a].used.divisors}
    return Masked(tuple(kept), tuple(sorted(finite)), tuple(sorted(divisors)))


def _is_weaker(a: Index, b: Index) -> bool:
    """Whether a ≥ 0 wherever b ≥ 0, and elsewhere."""
    difference = a - b
    return not difference.terms and difference.constant > 0


@dataclass(frozen=True)
class _Unknown:
    """A number that is finite if the values `rows` are, which are the same all along one side of the scores, and
    `divisors` not 0."""

    rows: frozenset[int] = frozenset()
    divisors: frozenset[int] = frozenset()

    @staticmethod
    def of(known: Sequence[Known], divides: bool = False) -> _Unknown:
        """What is made of some."""
        parts = [k for k in known if isinstance(k, _Unknown)]
        divisors = [p.divisors for p in parts]
        if divides and isinstance(known[1], _Unknown):
            divisors.append(known[1].rows)
        return _Unknown(frozenset().union(*(p.rows for p in parts)), frozenset().union(*divisors))


class _Knowledge:
    """What is known of each value at a point where `fails` is negative (None: at any point). `atoms`: what was compared
    with 0 on the way."""

    def __init__(self, kernel: Kernel, fails: Index | None, compares: bool = False) -> None:
        self.kernel = kernel
        self.fails = fails
        self.compares = compares
        self.used = _Unknown()  # what has to be finite for what was found
        self.atoms: list[Index] = []
        self.values: list[Known] = []

    def run(self) -> None:
        made: set[int] = set()  # of a product
        for number, value in enumerate(self.kernel.values):
            is_sum = isinstance(value, Dot | Reduce) and not made.isdisjoint(dependencies(value))
            known = None if is_sum else self._value(value)
            is_open = known is None or isinstance(known, _Unknown)
            if is_open and value.dtype.is_float and self.fails and not self.fails.axes <= self.kernel.axes[number]:
                known = _Unknown(frozenset((number,)))
            self.values.append(known)
            if isinstance(value, Dot) or not made.isdisjoint(dependencies(value)):
                made.add(number)

    def sums_nothing(self) -> bool:
        """Whether all sums of scores take in nothing."""
        made: list[bool] = []  # of a product
        for value in self.kernel.values:
            of_products = any(made[i] for i in dependencies(value))
            made.append(of_products or isinstance(value, Dot))
            if of_products and isinstance(value, Dot | Reduce) and not self.is_neutral(value):
                return False
        return True

    def is_neutral(self, value: Dot | Reduce) -> bool:
        known = [self.values[i] for i in value.inputs]
        if isinstance(value, Dot):
            return any(_is_zero(k) for k in known)
        return all(_number(k) == c.value for k, c in zip(known, value.init, strict=True))

    def _value(self, value: Value) -> Known:
        match value:
            case Const(dtype=dtype):
                return _constant(value.value, dtype.is_integer)
            case Position(index=index):
                return index if index.is_affine else None
            case Inside(bounds=bounds):
                return self._inside(bounds)
            case Load(bounds=bounds, dtype=dtype):
                if self._inside(bounds) is not False:
                    return None
                return False if dtype.is_bool else Index() if dtype.is_integer else 0.0
            case Apply(recipe=recipe, inputs=inputs):
                dtypes = [*recipe.params, *(s.dtype for s in recipe.steps)]

                def step(s: Step, known: tuple[Known, ...]) -> Known:
                    if s.prim is Prim.CONST:
                        return _constant(s.value, s.dtype.is_integer)
                    is_bool = bool(s.inputs) and dtypes[s.inputs[-1]].is_bool
                    return self._step(s, known, is_bool)

                return recipe.run(step, [self.values[i] for i in inputs])[0]
            case Dot(inputs=inputs):
                return 0.0 if any(_is_zero(self.values[i]) for i in inputs) else None
        return None

    def _inside(self, bounds: Sequence[Bound]) -> bool | None:
        truths = [True]
        for b in bounds:
            for side in (b.index - b.low, Index() + (b.high - 1) - b.index):
                truths.append(self._holds(side))  # type: ignore[arg-type]
        return _and(truths)

    def _holds(self, atom: Index) -> bool | None:
        """Whether an affine expression is ≥ 0."""
        low, high = atom.range()
        if low >= 0 or high < 0:
            return low >= 0
        if not atom.is_affine:
            return None
        self.atoms.append(atom)
        if self.fails is None:
            return None
        same, opposite = atom - self.fails, atom + self.fails
        if not same.terms and same.constant <= 0:     # atom ≤ fails ≤ −1
            return False
        if not opposite.terms and opposite.constant >= -1:  # atom ≥ −1 − fails ≥ 0
            return True
        return None

    def _step(self, step: Step, x: tuple[Known, ...], is_bool: bool) -> Known:
        prim = step.prim
        if prim is Prim.SELECT:
            mask, a, b = x
            if isinstance(mask, bool):
                return a if mask else b
            return a if _same(a, b) else _Unknown.of((a, b)) if step.dtype.is_float else None
        if prim in _COMPARISONS:
            return self._compare(prim, x)
        if is_bool and prim in (Prim.AND, Prim.OR, Prim.NOT):
            return _logic(prim, [k if isinstance(k, bool) else None for k in x])
        if x and all(isinstance(k, Index) for k in x):
            return _affine(step, [k for k in x if isinstance(k, Index)])
        found = _float(step, x)
        made = _Unknown.of(x, prim is Prim.DIV)
        if found is not None and step.dtype.is_float:
            self.used = _Unknown.of((self.used, made))
        return made if found is None and step.dtype.is_float else found

    def _compare(self, prim: Prim, x: tuple[Known, ...]) -> bool | None:
        a, b = x
        if isinstance(a, Index) and isinstance(b, Index):
            match prim:
                case Prim.LT:
                    return self._holds(b - a - 1)
                case Prim.LE:
                    return self._holds(b - a)
                case _:
                    equal = _and([self._holds(a - b), self._holds(b - a)])
                    return equal if prim is Prim.EQ or equal is None else not equal
        if self.compares and -math.inf in x and prim in (Prim.EQ, Prim.NE):
            made = _Unknown.of(x)
            if made.rows and not made.divisors:
                self.used = _Unknown.of((self.used, made))
                return prim is Prim.NE
        p, q = _number(a), _number(b)
        if p is None or q is None:
            return None
        return {Prim.LT: p < q, Prim.LE: p <= q, Prim.EQ: p == q, Prim.NE: p != q}[prim]


_COMPARISONS = (Prim.LT, Prim.LE, Prim.EQ, Prim.NE)


def _constant(value: Number, is_integer: bool) -> Known:
    if isinstance(value, bool):
        return value
    return Index((), int(value)) if is_integer else float(value)


def _number(known: Known) -> float | None:
    """A known number; truths are none."""
    if isinstance(known, Index):
        return float(known.constant) if not known.terms else None
    return known if isinstance(known, float) else None


def _is_zero(known: Known) -> bool:
    return _number(known) == 0


def _same(a: Known, b: Known) -> bool:
    return a is not None and type(a) is type(b) and a == b


def _and(truths: Sequence[bool | None]) -> bool | None:
    return False if False in truths else None if None in truths else True


def _logic(prim: Prim, x: Sequence[bool | None]) -> bool | None:
    if prim is Prim.NOT:
        return None if x[0] is None else not x[0]
    if prim is Prim.AND:
        return _and(x)
    return True if True in x else None if None in x else False


def _affine(step: Step, x: Sequence[Index]) -> Known:
    """Arithmetic on affine integers. Positions are far from the ends of their dtypes."""
    match step.prim:
        case Prim.ADD:
            return x[0] + x[1]
        case Prim.SUB:
            return x[0] - x[1]
        case Prim.MUL if not x[0].terms or not x[1].terms:
            return x[1] * x[0].constant if not x[0].terms else x[0] * x[1].constant
        case Prim.CAST if step.dtype.is_integer and step.dtype.bits >= 32:
            return x[0]
        case Prim.CAST if step.dtype.is_float and not x[0].terms:
            return float(x[0].constant)
    return None


def _float(step: Step, x: tuple[Known, ...]) -> float | None:
    """Arithmetic on numbers of which some are known; the others are finite."""
    known = [k if isinstance(k, float) else None for k in x]
    match step.prim:
        case Prim.ADD:
            return _sum(known[0], known[1])
        case Prim.SUB:
            return _sum(known[0], None if known[1] is None else -known[1])
        case Prim.MUL:
            return _product(known[0], known[1])
        case Prim.FMA:
            return _sum(_product(known[0], known[1]), known[2])
        case Prim.DIV:
            return 0.0 if known[0] == 0 and known[1] != 0 else None
        case Prim.NEG:
            return None if known[0] is None else -known[0]
        case Prim.EXP | Prim.EXP2:
            return 0.0 if known[0] == -math.inf else None
        case Prim.MIN:
            return -math.inf if -math.inf in known else None
        case Prim.CAST if step.dtype.is_float:
            return known[0]
    return None


def _sum(a: float | None, b: float | None) -> float | None:
    for x, y in ((a, b), (b, a)):
        if x is not None and math.isinf(x) and (y is None or math.isfinite(y)):
            return x
    return a + b if a is not None and b is not None else None


def _product(a: float | None, b: float | None) -> float | None:
    if (a == 0 and (b is None or math.isfinite(b))) or (b == 0 and (a is None or math.isfinite(a))):
        return 0.0
    return a * b if a is not None and b is not None else None
