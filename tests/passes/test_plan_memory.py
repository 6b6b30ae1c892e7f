"""Temporaries lie where no other that lives at the same time does, in as little memory as the largest moment needs."""

from __future__ import annotations

import random

import pytest

from graphc.passes.plan_memory import Life, plan_memory, rounded


def random_lives(seed: int, count: int = 150) -> list[Life]:
    random_ = random.Random(seed)
    lives = []
    for _ in range(count):
        first = random_.randrange(count)
        last = min(count - 1, first + int(random_.expovariate(0.1)))
        lives.append(Life(random_.choice([1, 64, 1000, 5000]), first, last))
    return lives


@pytest.mark.parametrize("seed", range(10))
def test_none_in_the_place_of_another(seed: int) -> None:
    lives = random_lives(seed)
    offsets, total = plan_memory(lives)
    for i, (a, x) in enumerate(zip(lives, offsets, strict=True)):
        assert x >= 0 and x + rounded(a.nbytes) <= total
        for b, y in zip(lives[:i], offsets[:i], strict=True):
            apart_in_time = a.last < b.first or b.last < a.first
            assert apart_in_time or x + rounded(a.nbytes) <= y or y + rounded(b.nbytes) <= x


@pytest.mark.parametrize("seed", range(10))
def test_little_is_wasted(seed: int) -> None:
    lives = random_lives(seed)
    most = max(sum(rounded(l.nbytes) for l in lives if l.first <= t <= l.last) for t in range(150))
    assert most <= plan_memory(lives)[1] <= 1.15 * most


def test_the_lowest_gap_that_fits() -> None:
    lives = [Life(640, 0, 9), Life(320, 0, 3), Life(256, 5, 9), Life(64, 4, 4), Life(64, 5, 5)]
    assert plan_memory(lives) == ((0, 640, 640, 640, 896), 960)
    assert plan_memory([]) == ((), 0)
