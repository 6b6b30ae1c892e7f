"""Merging groups: what gains and may be one becomes one, never in a circle, with few trials however many there are."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest

from graphc.costs import CPU
from graphc.passes import merge as merging
from graphc.passes.fusion_order import Order
from graphc.passes.groups import Group, bits, in_order
from graphc.passes.kernel_tracer import Domain
from graphc.passes.pattern import Pattern


def make(count: int, needs: Mapping[int, Sequence[int]]) -> list[Group]:
    """Small groups of one size; `needs` in any order of numbers."""
    groups = [Group(n, Pattern(Domain.over((4,)))) for n in range(count)]
    for number, others in needs.items():
        groups[number].require([groups[n] for n in others])
    return groups


def whole(a: Group, b: Group) -> Group:
    made = Group(b.number, a.pattern)
    made.needs, made.users = (a.needs | b.needs) - {a, b}, (a.users | b.users) - {a, b}
    made.reasons = [*(a.reasons or [str(a.number)]), *(b.reasons or [str(b.number)])]
    return made


def numbers(group: Group) -> list[int]:
    return sorted(map(int, group.reasons or [str(group.number)]))


def test_bits() -> None:
    assert list(bits(0b1010_0001)) == [0, 5, 7]


def test_what_is_needed_through_others() -> None:
    groups = make(4, {1: [0], 2: [3]})
    groups[3].require([groups[1]])  # group 2 learns of it
    assert groups[2].depends_on(groups[0]) and not groups[0].depends_on(groups[2])
    assert [g.number for g in in_order(groups)] == [0, 1, 3, 2]


def test_earlier_pairs_go_first() -> None:
    tried = []

    def attempt(a: Group, b: Group) -> Group | None:
        tried.append((numbers(a), numbers(b)))
        return whole(a, b) if len(numbers(a)) + len(numbers(b)) <= 2 else None

    merged = merging.merge(make(4, {}), attempt, CPU, Order())
    assert [numbers(g) for g in merged] == [[0, 1], [2, 3]]
    assert tried == [([0], [1]), ([0, 1], [2]), ([0, 1], [3]), ([2], [3]), ([0, 1], [2, 3])]


@pytest.mark.parametrize("window", [7, 1 << 12])
@pytest.mark.parametrize("seed", range(20))
def test_never_in_a_circle(seed: int, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random_ = random.Random(seed)
    count = 40
    order = random_.sample(range(count), count)  # numbers do not tell what can run first
    needs = {order[i]: [order[random_.randrange(max(0, i - 8), i)] for _ in range(2)] for i in range(1, count)}
    monkeypatch.setattr(merging, "WINDOW", window)

    def attempt(a: Group, b: Group) -> Group | None:
        between = {g for g in b.needs - {a} if needed(g, a)} | {g for g in a.needs - {b} if needed(g, b)}
        assert not between
        return whole(a, b) if random_.random() < 0.5 else None

    groups = make(count, needs)
    merged = merging.merge(in_order(groups), attempt, CPU, Order())
    assert sorted(n for g in merged for n in numbers(g)) == list(range(count))
    assert len(in_order(merged)) == len(merged) < count


def needed(group: Group, other: Group) -> bool:
    """Whether a group needs another, by search."""
    seen, pending = {group}, [group]
    while pending:
        fresh = pending.pop().needs - seen
        seen |= fresh
        pending += fresh
    return other in seen


@pytest.mark.parametrize("chained", [False, True])
def test_trials_grow_with_the_number_of_groups(chained: bool) -> None:
    def trials(count: int) -> int:
        found = 0

        def attempt(a: Group, b: Group) -> Group | None:
            nonlocal found
            found += 1
            return whole(a, b) if len(numbers(a)) + len(numbers(b)) <= 8 else None

        groups = make(count, {n: [n - 1] for n in range(1, count)} if chained else {})
        merging.merge(in_order(groups), attempt, CPU, Order())
        return found

    assert trials(800) <= 2.3 * trials(400)
