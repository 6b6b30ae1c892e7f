"""Affine-with-division index expressions over named axes: how a kernel addresses memory.

    Index   sum(coefficient · term) + constant
    term    Axis | Floor(index, k) | Mod(index, k) | Gathered(value, size)

Every term knows its range, so divisions that can be resolved statically vanish as they are built.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from .dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Axis:
    """A loop axis of a kernel: 0 ≤ axis < size."""

    name: str
    size: int

    def range(self) -> tuple[int, int]:
        return 0, max(self.size - 1, 0)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Floor:
    """index // divisor, rounded down."""

    index: Index
    divisor: int

    def range(self) -> tuple[int, int]:
        low, high = self.index.range()
        return low // self.divisor, high // self.divisor

    def __str__(self) -> str:
        return f"({self.index})//{self.divisor}"


@dataclass(frozen=True, slots=True)
class Mod:
    """index % divisor, never negative."""

    index: Index
    divisor: int

    def range(self) -> tuple[int, int]:
        return 0, self.divisor - 1

    def __str__(self) -> str:
        return f"({self.index})%{self.divisor}"


@dataclass(frozen=True, slots=True)
class Gathered:
    """The integer that value number `value` of the kernel holds; it must lie in 0 ≤ v < size.

    A backend checks it: outside, it reports a bad index and uses 0. `axes` are the axes that value varies over.
    """

    value: int
    size: int
    axes: frozenset[Axis]

    def range(self) -> tuple[int, int]:
        return 0, max(self.size - 1, 0)

    def __str__(self) -> str:
        return f"[v{self.value} < {self.size}]"


Term: TypeAlias = Axis | Floor | Mod | Gathered


class Index:
    """An immutable index expression. Terms are kept in order of first appearance with non-zero coefficients."""

    __slots__ = ("_axes", "_hash", "constant", "terms")

    def __init__(self, terms: Iterable[tuple[Term, int]] = (), constant: int = 0) -> None:
        self.terms: tuple[tuple[Term, int], ...] = tuple((t, c) for t, c in terms if c)
        self.constant = constant
        self._hash = hash((frozenset(self.terms), constant))
        self._axes: frozenset[Axis] | None = None

    @staticmethod
    def of(axis: Term) -> Index:
        """The index that walks along one axis; 0 for an axis of size 1."""
        return Index() if isinstance(axis, Axis) and axis.size == 1 else Index(((axis, 1),))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Index)
            and self._hash == other._hash
            and self.constant == other.constant
            and (self.terms == other.terms or frozenset(self.terms) == frozenset(other.terms))
        )

    def __repr__(self) -> str:
        parts = [f"{c}*{t}" if c != 1 else str(t) for t, c in self.terms]
        if self.constant or not parts:
            parts.append(str(self.constant))
        return " + ".join(parts)

    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, int):
            return Index(self.terms, self.constant + other) if other else self
        if not other.terms:
            return self + other.constant
        if not self.terms:
            return other + self.constant
        sums = dict(self.terms)
        for term, c in other.terms:
            sums[term] = sums.get(term, 0) + c
        return Index(sums.items(), self.constant + other.constant)

    def __mul__(self, factor: int) -> Index:
        if factor == 1:
            return self
        return Index(((t, c * factor) for t, c in self.terms), self.constant * factor)

    def __sub__(self, other: Index | int) -> Index:
        return self + (-other if isinstance(other, int) else other * -1)

    @property
    def axes(self) -> frozenset[Axis]:
        """All axes the index varies over, inside divisions and gathered values too."""
        if self._axes is None:
            found: set[Axis] = set()
            for term, _ in self.terms:
                if isinstance(term, Axis):
                    found.add(term)
                elif isinstance(term, Gathered):
                    found |= term.axes
                else:
                    found |= term.index.axes
            self._axes = frozenset(found)
        return self._axes

    def coefficient(self, axis: Axis) -> int:
        """The factor of `axis` as a plain term (0 where it occurs only inside a division, or not at all)."""
        return next((c for t, c in self.terms if t == axis), 0)

    def without(self, axis: Axis) -> Index:
        """The index with the plain term of `axis` left out."""
        return Index(((t, c) for t, c in self.terms if t != axis), self.constant)

    def is_linear_in(self, axis: Axis) -> bool:
        """Whether `axis` occurs as a plain term at most, so that stepping along it has a constant stride."""
        return all(t == axis or axis not in Index(((t, 1),)).axes for t, _ in self.terms)

    @property
    def is_affine(self) -> bool:
        """Whether all terms are axes."""
        return all(isinstance(t, Axis) for t, _ in self.terms)

    def range(self) -> tuple[int, int]:
        """The least and greatest value, both reached or safely enclosed."""
        low = high = self.constant
        for term, c in self.terms:
            a, b = term.range()
            low += min(a * c, b * c)
            high += max(a * c, b * c)
        return low, high

    def divisions(self) -> Iterator[Floor | Mod]:
        """The divisions in it, outer ones first."""
        for term, _ in self.terms:
            if isinstance(term, Floor | Mod):
                yield term
                yield from term.index.divisions()

    def gathered(self) -> Iterator[Gathered]:
        """The gathered values in it."""
        for term, _ in self.terms:
            if isinstance(term, Gathered):
                yield term
            elif isinstance(term, Floor | Mod):
                yield from term.index.gathered()

    def __floordiv__(self, k: int) -> Index:
        """index // k. Writing index = k·q + r with q taken from the divisible terms, it is q + r // k."""
        if k == 1:
            return self
        q = Index(((t, c // k) for t, c in self.terms if c % k == 0), self.constant // k)
        r = Index(((t, c) for t, c in self.terms if c % k), self.constant % k)
        low, high = r.range()
        if low // k == high // k:
            return q + low // k
        return q + Index(((Floor(r, k), 1),))

    def __mod__(self, k: int) -> Index:
        """index % k; multiples of k drop out."""
        if k == 1:
            return Index()
        r = Index(((t, c) for t, c in self.terms if c % k), self.constant % k)
        low, high = r.range()
        if low // k == high // k:
            return r - (low // k) * k
        return Index(((Mod(r, k), 1),))

    def substitute(self, table: Mapping[Axis, Index]) -> Index:
        """Replace axes by index expressions."""
        result = Index((), self.constant)
        for term, c in self.terms:
            if isinstance(term, Axis):
                part = table.get(term, None)
                result += (Index(((term, 1),)) if part is None else part) * c
            elif isinstance(term, Floor):
                result += (term.index.substitute(table) // term.divisor) * c
            elif isinstance(term, Mod):
                result += (term.index.substitute(table) % term.divisor) * c
            else:
                moved = frozenset().union(*(table[a].axes if a in table else {a} for a in term.axes))
                result += Index(((Gathered(term.value, term.size, moved), 1),)) * c
        return result

    def renumber(self, values: Mapping[int, int]) -> Index:
        """Renumber the gathered values."""
        if not any(True for _ in self.gathered()):
            return self
        terms: list[tuple[Term, int]] = []
        for term, c in self.terms:
            if isinstance(term, Gathered):
                term = Gathered(values[term.value], term.size, term.axes)
            elif isinstance(term, Floor):
                term = Floor(term.index.renumber(values), term.divisor)
            elif isinstance(term, Mod):
                term = Mod(term.index.renumber(values), term.divisor)
            terms.append((term, c))
        return Index(terms, self.constant)


@dataclass(frozen=True, slots=True)
class Bound:
    """low ≤ index < high. What pad and concat become."""

    index: Index
    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low} <= {self.index} < {self.high}"

    @property
    def always(self) -> bool:
        """Whether it holds everywhere."""
        low, high = self.index.range()
        return self.low <= low and high < self.high

    @property
    def never(self) -> bool:
        """Whether it holds nowhere."""
        low, high = self.index.range()
        return high < self.low or self.high <= low


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides in elements. An empty axis counts as one, so that strides stay positive."""
    result = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        result[i] = result[i + 1] * max(shape[i + 1], 1)
    return tuple(result)


def flatten(index: Sequence[Index], shape: Sequence[int]) -> Index:
    """The row-major position of a multi-index."""
    result = Index()
    for i, s in zip(index, strides(shape), strict=True):
        result += i * s
    return result


def unflatten(position: Index, shape: Sequence[int]) -> tuple[Index, ...]:
    """The multi-index at a row-major position that lies inside `shape`."""
    result = []
    for axis, (size, stride) in enumerate(zip(shape, strides(shape), strict=True)):
        part = position // stride
        # The first axis needs no modulus: the position lies inside.
        result.append(part % max(size, 1) if axis else part)
    return tuple(result)


def axes_size(axes: Iterable[Axis]) -> int:
    """The number of points of an iteration space."""
    return math.prod(a.size for a in axes)
