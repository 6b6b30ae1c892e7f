"""Every kind of value says all there is to ask of it, so that whatever moves values knows no kinds: a kind that is
declared here goes through all that changes kernels."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import graphc
from graphc.backends.kernels.rewrite import Rewrite
from graphc.backends.kernels.segments import segment
from graphc.backends.kernels.sweeps import needed_in, sweeps_of
from graphc.backends.triton.joining import Join, joining_kernel
from graphc.dataclass import dataclass, field_names, is_dataclass
from graphc.index import Axis, Bound, Floor, Gathered, Index, Mod
from graphc.kernel import (
    Accumulate,
    Apply,
    Const,
    Dot,
    Inside,
    Kernel,
    Load,
    Position,
    Reduce,
    Scan,
    Slot,
    Store,
    Value,
)
from graphc.passes.build_kernel import canonical
from graphc.passes.in_place import can_update_in_place, share_slot
from graphc.scalar import Recipe, record
from graphc.types import DType, float32, int64
from graphc.value import BaseValue, Mapper, closure, dependencies

I, J, R = Axis("i", 6), Axis("j", 4), Axis("r", 8)
PLACE = Index.of(I) * 4 + Index(((Floor(Index(((Gathered(0, 9, frozenset((J,))), 2), (J, 1))), 3), 1),)) + 5
BOUNDS = (Bound(Index(((Mod(Index.of(J) * 3, 5), 1),)), 1, 4), Bound(PLACE, 0, 40))
ADD, SAME = record("add", lambda s, a, b: a + b, (float32, float32)), record("same", lambda s, a: a, (float32,))
ZERO = (Const(0, float32),)
SAMPLES: dict[type, Any] = {
    Load: Load(1, PLACE, BOUNDS, float32),
    Const: ZERO[0],
    Inside: Inside(BOUNDS),
    Position: Position(PLACE),
    Apply: Apply(ADD, (0, 2)),
    Reduce: Reduce(ADD, ZERO, SAME, (2,), (I, R)),
    Scan: Scan(ADD, ZERO, SAME, (2,), (R,)),
    Dot: Dot((0, 2), (I, R), float32),
    Accumulate: Accumulate(ADD, ZERO, SAME, (2,), (I, R)),
    Store: Store(1, PLACE, 2, True),
}
KINDS = (*get_args(Value), Store)


def inside(thing: object) -> Iterator[object]:
    """All that a value is made of, at any depth."""
    yield thing
    parts: tuple[Any, ...] = ()
    if isinstance(thing, Index):
        parts = (*(t for t, _ in thing.terms),)
    elif isinstance(thing, tuple | frozenset):
        parts = tuple(thing)
    elif is_dataclass(thing) and not isinstance(thing, Recipe | DType):
        parts = tuple(getattr(thing, name) for name in field_names(thing))
    for part in parts:
        yield from inside(part)


def spoken_of(value: Any) -> dict[str, set[Any]]:
    """What a value refers to, found field by field with no knowledge of kinds."""
    everything = list(inside(value))
    numbers = {g.value for g in everything if isinstance(g, Gathered)} | {*getattr(value, "inputs", ())}
    if isinstance(value, Store):
        numbers |= {value.value}
    slots = {value.slot} if hasattr(value, "slot") else set()
    return {"numbers": numbers, "slots": slots, "axes": {a for a in everything if isinstance(a, Axis)}}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_mapper_replaces_all_that_a_value_speaks_of(kind: type) -> None:
    value = SAMPLES[kind]
    axes = {a: Axis(a.name * 2, a.size) for a in (I, J, R)}
    to = Mapper(
        {n: n + 10 for n in range(3)}, {1: 11}, {a: Index.of(new) for a, new in axes.items()},
        {a: (new,) for a, new in axes.items()},
    )  # fmt: skip
    mapped = to.store(value) if isinstance(value, Store) else to.value(value)
    before, after = spoken_of(value), spoken_of(mapped)
    assert after["numbers"] == {n + 10 for n in before["numbers"]}
    assert after["slots"] == {n + 10 for n in before["slots"]}
    assert after["axes"] == {axes[a] for a in before["axes"]}
    assert (type(mapped) is kind and str(mapped) != str(value)) or kind is Const
    assert (Mapper().store if kind is Store else Mapper().value)(value) == value


@pytest.mark.parametrize("kind", get_args(Value), ids=lambda kind: kind.__name__)
def test_a_value_says_what_it_is_made_of(kind: type) -> None:
    value, everything = SAMPLES[kind], list(inside(SAMPLES[kind]))
    assert {*dependencies(value)} == spoken_of(value)["numbers"]
    assert {*value.recipes} == {r for r in everything if isinstance(r, Recipe)}
    assert {*value.constants} == {c for c in everything if isinstance(c, Const)}
    mine = {i for v in value.indices for i in inside(v) if isinstance(i, Index)}
    assert mine == {i for i in everything if isinstance(i, Index)}
    assert value.dtype in (float32, int64) or kind is Inside


@dataclass(frozen=True, slots=True)
class Nearest(BaseValue):
    """A kind that nobody knows: something of a value and of a place, over axes."""

    inputs: tuple[int, ...]
    index: Index
    axes: tuple[Axis, ...]

    @property
    def dtype(self) -> DType:
        return float32

    @property
    def indices(self) -> tuple[Index, ...]:
        return (self.index,)

    def varies(self, inner: frozenset[Axis]) -> frozenset[Axis]:
        return inner.union(self.axes)

    def mapped(self, to: Mapper) -> Nearest:
        return Nearest(to.numbers(self.inputs), to.index(self.index), to.axes(self.axes))

    def __str__(self) -> str:
        return f"nearest({', '.join(f'v{i}' for i in self.inputs)}) at {self.index}"


def unknown() -> Kernel:
    """s1[j] = sum of nearest(s0[8·j + r]) over r, and s0 itself is written."""
    place = Index.of(J) * 8 + Index.of(R)
    values: tuple[Any, ...] = (
        Const(7, float32),
        Load(0, place, (), float32),
        Nearest((1,), place, (J,)),
        Reduce(ADD, ZERO, SAME, (2,), (R,)),
    )
    return Kernel((Slot(float32, 32), Slot(float32, 4)), (J,), (R,), (), values, (Store(1, Index.of(J), 3),))


def values_of(kernel: Kernel) -> tuple[Any, ...]:
    return kernel.values


def test_a_new_kind_of_value_goes_through_all_that_changes_kernels() -> None:
    kernel = unknown()
    nearest: Any = kernel.values[2]
    assert kernel.axes[2] == {J, R} and kernel.levels == (0, 0, 0, 1)
    assert "v2@0 = nearest(v1) at 8*j + r : float32" in str(kernel) and len(kernel.digest) == 64
    assert needed_in(kernel, sweeps_of(kernel)[0]) == (1, 2) and closure(kernel.values, (3,)) == (1, 2, 3)
    assert closure(kernel.values, (3,), (2,)) == (2, 3)
    i0, r0 = Axis("i0", 4), Axis("r0", 8)
    assert values_of(canonical(kernel))[2] == Nearest((1,), Index.of(i0) * 8 + Index.of(r0), (i0,))
    part = Axis("j", 2)
    new = segment(kernel, {J: (2, 4)})
    assert values_of(new)[1] == Nearest((0,), Index.of(part) * 8 + Index.of(R) + 16, (J,))
    rewritten = Rewrite(kernel)
    rewritten.keep(kernel.stores[0])
    assert values_of(rewritten.kernel(kernel.parallel, kernel.row)) == (
        kernel.values[1], Nearest((0,), nearest.index, (J,)), Reduce(ADD, ZERO, SAME, (1,), (R,)),
    )  # fmt: skip
    joined = joining_kernel(kernel, [Join(1, "x", ("x",), ZERO, ADD, SAME)], Axis("part", 3))
    assert Nearest((1,), nearest.index, (J,)) in values_of(joined)
    assert not can_update_in_place(kernel, 0, 1)
    assert share_slot(kernel, 0, 1)[0].values[2] == nearest


def test_values_are_moved_in_one_place() -> None:
    """Nobody but the mapper renumbers what an index gathers by, or makes a value again with other inputs."""
    root = Path(graphc.__file__).parent
    found = []
    for folder in (root, root / "passes", root / "backends", root / "ops"):
        for path in folder.glob("*.py") if folder == root else folder.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                    remade = name == "replace" and any(k.arg in ("inputs", "bounds") for k in node.keywords)
                    if name == "renumber" or remade:
                        found.append(str(path.relative_to(root)))
    assert {*found} == {"value.py", "index.py"}
