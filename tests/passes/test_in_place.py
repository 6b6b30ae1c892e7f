"""When new values of Variables are written over the old ones: at once in short calls, after all other work in long
ones, so that these can be cut off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn, optim
from graphc.schedule import KernelStep, Schedule, Space


class Counter(nn.Module):
    def __init__(self, size: int) -> None:
        self.seen = gx.Variable(0, trainable=False)

    def forward(self, x: Any) -> Any:
        self.seen.assign(self.seen + 1)
        return x


class Standardized(nn.Module):
    def __init__(self, size: int) -> None:
        self.mean = gx.Variable(np.zeros(size, np.float32), trainable=False)

    def forward(self, x: Any) -> Any:
        mean = gx.mean(x, axis=0)
        self.mean.assign(0.9 * self.mean + 0.1 * mean)
        return (x - mean) * gx.rsqrt(gx.var(x, axis=0) + 1e-5)


class Last(nn.Module):
    def __init__(self, size: int) -> None:
        self.value = gx.Variable(np.zeros((size, size), np.float32), trainable=False)

    def forward(self, x: Any) -> Any:
        self.value.assign(x * 2)
        return x


KINDS: dict[str, Callable[[int], Any]] = {
    "weights": lambda size: nn.relu,
    "random numbers": lambda size: nn.Dropout(0.1),
    "a counter": Counter,
    "a running mean": Standardized,
    "all of a layer": Last,
}


def step_schedule(kind: str, size: int) -> Schedule:
    """A training step's."""
    model = nn.Sequential(*[part for _ in range(3) for part in (nn.Linear(size, size), KINDS[kind](size))])
    optimizer = optim.Adam(model)

    @gx.compile
    def step(x: Any) -> Any:
        loss = gx.mean(model(x) ** 2)
        optimizer.minimize(loss)
        return loss

    made = step.schedule(np.ones((size, size), np.float32))
    assert isinstance(made, Schedule)
    return made


def writers(made: Schedule) -> list[bool]:
    """Of each step whether it writes a Variable."""
    variables = {b.number for b in made.in_space(Space.VARIABLE)}
    steps = [step for step in made.steps if isinstance(step, KernelStep)]
    return [any(step.buffers[s] in variables for s in step.kernel.written) for step in steps]


@pytest.mark.parametrize("kind", KINDS)
def test_long_calls_write_no_variable_before_all_else_is_done(kind: str) -> None:
    made = step_schedule(kind, 1024)
    writes = writers(made)
    first = writes.index(True)
    products = [n for n, step in enumerate(made.steps) if "dot_general" in step.ops]
    assert all(writes[n] or n < first for n in products)
    assert sum(n < first for n in products) == 5, "three forward, two back; the rest are gradients of weights"


@pytest.mark.parametrize("kind", KINDS)
def test_short_calls_copy_nothing(kind: str) -> None:
    assert not any("copy" in step.ops for step in step_schedule(kind, 32).steps)
