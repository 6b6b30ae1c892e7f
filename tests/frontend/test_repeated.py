"""What is copied computes what would have been traced, and what a user's own class does is done each time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import optim
from graphc.frontend.repeated import Repeated


def squares(weights: list[gx.Variable]) -> gx.Tensor:
    return gx.sum(gx.stack([gx.sum(w * w) for w in weights]))


def test_calls_after_the_second_are_copies() -> None:
    calls = []

    def function(x: gx.Tensor, y: gx.Tensor) -> tuple[gx.Tensor, ...]:
        calls.append(x.type)
        return x * rate + y, gx.sum(y), y, rate.value

    rate = gx.Variable(3.0, dtype="float32")

    def copied(xs: list[gx.Tensor]) -> list[tuple[gx.Tensor, ...]]:
        repeated = Repeated(function)
        return [tuple(repeated(x, x + 1)) for x in xs]

    xs = [np.full(2 + n % 2, n, np.float32) for n in range(8)]
    results = gx.compile(copied)(xs)
    assert len(calls) == 4
    for x, (mixed, total, same, shared) in zip(xs, results, strict=True):
        np.testing.assert_array_equal(mixed, x * 3 + x + 1)
        np.testing.assert_array_equal(same, x + 1)
        assert total.item() == np.sum(x + 1) and shared.item() == 3


@pytest.mark.parametrize("number", range(4))
def test_an_argument_may_be_what_the_function_reads_besides(number: int) -> None:
    """Stand-ins are nobody else's: a gradient that is the learning rate's own node does not stand for the rate."""
    weights = [gx.Variable(np.float32(n + 1)) for n in range(4)]
    rate = gx.Variable(np.float32(0.5), trainable=False)

    def function(x: gx.Tensor, y: gx.Tensor) -> tuple[gx.Tensor]:
        return (x - rate * y,)

    @gx.compile
    def step() -> list[gx.Tensor]:
        repeated = Repeated(function)
        given = [rate.value if n == number else w.value * 10 for n, w in enumerate(weights)]
        return [repeated(w.value, g)[0] for w, g in zip(weights, given, strict=True)]

    expected = [w - 0.5 * (0.5 if n == number else w * 10) for n, w in enumerate((1, 2, 3, 4))]
    assert [x.item() for x in step()] == expected


def test_copies_have_the_users_line() -> None:
    weights = [gx.Variable(np.ones(3, np.float32)) for _ in range(4)]
    optimizer = optim.Adam(weights)

    def step() -> None:
        optimizer.minimize(squares(weights))

    graph = gx.trace(step)
    lines = {u.loc.line for u in graph.updates if u is not None and u.loc is not None}
    assert lines == {step.__code__.co_firstlineno + 1}


def test_a_class_of_the_users_is_asked_for_each_parameter() -> None:
    class Counting(optim.Adam):
        def decayed(self, group: optim.ParameterGroup, parameter: gx.Tensor) -> gx.Tensor:
            count.append(group)
            return parameter

    count: list[optim.ParameterGroup] = []
    weights = [gx.Variable(np.ones(3, np.float32)) for _ in range(5)]
    optimizer = Counting(weights)
    gx.trace(lambda: optimizer.minimize(squares(weights)))
    assert len(count) == 5


@pytest.mark.parametrize(
    "options",
    [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.5, "dampening": 0.25}],
)
def test_many_parameters_move_as_one_does(options: dict[str, Any]) -> None:
    """With two groups, and parameters in another order than these."""
    starts = [np.array([n, -n, 2.0], np.float32) for n in range(6)]

    def trained(groups: list[list[int]]) -> list[np.ndarray]:
        weights = [gx.Variable(s) for s in starts]
        made = [{"params": [weights[n] for n in g], "lr": (0.1, 0.01)[min(g) % 2]} for g in groups]
        optimizer = optim.SGD(made, **options)

        @gx.compile
        def step() -> None:
            optimizer.minimize(squares([weights[n] for g in groups for n in g]))

        for _ in range(3):
            step()
        return [weights[n].value.numpy() for g in groups for n in g]

    together = trained([[4, 0, 2], [5, 1, 3]])
    apart = [trained([[n]])[0] for n in (4, 0, 2, 5, 1, 3)]
    np.testing.assert_array_equal(together, apart)


def test_in_the_body_of_a_loop() -> None:
    """Stand-ins and what the updates share belong to the frame of the body."""

    def trained(is_scan: bool) -> list[np.ndarray]:
        weights = [gx.Variable(np.full(3, n + 1, np.float32)) for n in range(4)]
        optimizer = optim.Adam(weights, lr=0.1)

        def step(count: gx.Tensor, x: gx.Tensor) -> tuple[gx.Tensor, gx.Tensor]:
            loss = squares(weights) * x
            optimizer.minimize(loss)
            return count, loss

        @gx.compile(backend="reference")
        def train(xs: gx.Tensor) -> None:
            if is_scan:
                gx.scan(step, gx.zeros(()), xs)
            else:
                for number in range(3):
                    step(xs, xs[number])

        train(np.array([1, 2, 3], np.float32))
        return [w.value.numpy() for w in weights]

    np.testing.assert_allclose(trained(True), trained(False), rtol=1e-6)
