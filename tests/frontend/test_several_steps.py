"""Several steps in one trace do what the same steps do in calls of their own: an assigned value is a leaf."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import TraceError, nn, optim

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(8, 3)).astype(np.float32), RNG.normal(size=(8, 1)).astype(np.float32)
Z = RNG.normal(size=(8, 3)).astype(np.float32)

Steps = list[Callable[[], Any]]


def model(seed: int = 0, last: int = 1) -> nn.Sequential:
    generator = gx.random.Generator(seed)
    return nn.Sequential(nn.Linear(3, 4, generator=generator), nn.tanh, nn.Linear(4, last, generator=generator))


def k_steps(make: Callable[[Any], optim.Optimizer]) -> tuple[Steps, Any]:
    net = model()
    optimizer = make(net)
    return 3 * [lambda: optimizer.minimize(gx.mean((net(X) - Y) ** 2))], (net, optimizer)


def generator_and_critic() -> tuple[Steps, Any]:
    """Two critic steps for each step of the generator, without anything detached."""
    made, critic = model(1, last=3), model(2)
    of_made, of_critic = optim.Adam(made, lr=0.1), optim.SGD(critic, lr=0.1, momentum=0.5)

    def critic_step() -> None:
        of_critic.minimize(gx.mean(critic(made(Z))) - gx.mean(critic(X)) + gx.mean(critic(X) ** 2))

    def step() -> None:
        of_made.minimize(-gx.mean(critic(made(Z))))

    return [critic_step, critic_step, step, critic_step, step], (made, critic, of_made, of_critic)


def accumulation() -> tuple[Steps, Any]:
    net = model()
    optimizer = optim.Adam(net, lr=0.1)
    sums = [gx.Variable(np.zeros(p.shape, np.float32), trainable=False) for p in net.parameters()]

    def add(rows: slice) -> None:
        found = gx.gradients(gx.mean((net(X[rows]) - Y[rows]) ** 2), net.parameters())
        for total, g in zip(sums, found, strict=True):
            total.assign(total + g)

    def update() -> None:
        optimizer.apply([total / 2 for total in sums])
        for total in sums:
            total.assign(total * 0)

    return 2 * [lambda: add(slice(4)), lambda: add(slice(4, 8)), update], (net, optimizer, sums)


def teacher() -> tuple[Steps, Any]:
    """A teacher that is the moving average of its pupil, which learns to be alike."""
    pupil, average = model(1), model(2)
    optimizer = optim.SGD(pupil, lr=0.1)

    def follow() -> None:
        for a, p in zip(average.parameters(), pupil.parameters(), strict=True):
            a.assign(0.9 * a + 0.1 * p)

    def step() -> None:
        optimizer.minimize(gx.mean((pupil(X) - average(X)) ** 2) + gx.mean((pupil(X) - Y) ** 2))

    return [step, follow, step, follow, step], (pupil, average)


def two_for_one() -> tuple[Steps, Any]:
    """One optimizer, two losses that share a part of the model."""
    trunk, heads = model(last=2), [nn.Linear(2, 1, generator=gx.random.Generator(i)) for i in (5, 6)]
    optimizer = optim.Adam([*trunk.parameters(), *heads[0].parameters(), *heads[1].parameters()], lr=0.1)
    losses = [lambda h=h: optimizer.minimize(gx.mean((h(trunk(X)) - Y) ** 2)) for h in heads]
    return [*losses, *losses], (trunk, heads, optimizer)


def values(state: Any) -> list[np.ndarray]:
    if isinstance(state, gx.Variable):
        return [state.numpy()]
    if isinstance(state, nn.Module | optim.Optimizer):
        return [v.numpy() for v in dict(state.named_variables()).values()]
    return [v for part in state for v in values(part)]


CASES = {
    "sgd": lambda: k_steps(lambda p: optim.SGD(p, lr=0.1)),
    "momentum": lambda: k_steps(lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1)),
    "adam": lambda: k_steps(lambda p: optim.Adam(p, lr=0.1)),
    "adamw": lambda: k_steps(lambda p: optim.AdamW(p, lr=0.1)),
    "generator and critic": generator_and_critic,
    "accumulation": accumulation,
    "teacher": teacher,
    "two losses": two_for_one,
}


@pytest.mark.parametrize("backend", ["llvm", "reference"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_steps_in_one_call_and_in_several(case: Callable[[], tuple[Steps, Any]], backend: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steps, state = case()
        gx.compile(lambda: [step() for step in steps], backend=backend)()
        again, expected = case()
        compiled = {id(s): gx.compile(s, backend=backend) for s in again}
        for step in again:
            compiled[id(step)]()
    for got, wanted in zip(values(state), values(expected), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-6)


def test_a_loss_of_an_earlier_value_is_an_error() -> None:
    """Whichever step made the value, and however many Variables were assigned meanwhile."""
    net = model()
    optimizer = optim.SGD(net)

    def late() -> None:
        optimizer.minimize(gx.mean(net(X)))
        loss = gx.mean(net(X))
        optimizer.minimize(loss)
        optimizer.minimize(loss)

    with pytest.raises(TraceError, match=r"before it was assigned(.|\n)*optimizer.minimize\(loss\)"):
        gx.trace(late)


def test_a_stopped_use_of_an_earlier_value_is_none() -> None:
    w = gx.Variable([1.0, 2.0])

    @gx.compile
    def f() -> gx.Tensor:
        before = gx.stop_gradient(w)
        w.assign(w * 2)
        return gx.gradients(gx.sum(w * before), w)

    assert f().tolist() == [1, 2]


def test_gradients_stop_at_an_assigned_value() -> None:
    v = gx.Variable(2.0)

    @gx.compile
    def f(x: gx.Tensor) -> list[gx.Tensor]:
        v.assign(v * x)
        return gx.gradients(v * x, [x, v])

    assert [g.item() for g in f(np.float32(3))] == [6, 3]
    assert v.item() == 6


def test_a_loss_of_the_assigned_tensor_is_told_from_one_of_the_variable() -> None:
    v = gx.Variable(2.0)

    def f() -> Any:
        new = v * 3
        v.assign(new)
        return gx.gradients(new * new, v)

    with pytest.raises(TraceError, match="used the tensor that was assigned to variable"):
        gx.trace(f)


def test_a_copy_of_another_variable_is_a_leaf() -> None:
    v, w = gx.Variable(1.0), gx.Variable(5.0)

    @gx.compile
    def f() -> list[gx.Tensor]:
        v.assign(w)
        return gx.gradients(w * w * v, [v, w])

    assert [g.item() for g in f()] == [25, 50]


def test_parameters_behind_an_assigned_state_are_told_of() -> None:
    """A recurrent state that is kept in a Variable: the loss must take the tensor, or the cell would never learn."""
    cell, out = nn.Linear(3, 3), nn.Linear(3, 1)
    state = gx.Variable(np.zeros((8, 3), np.float32), trainable=False, name="state")
    both = optim.SGD([*cell.parameters(), *out.parameters()], lr=0.1)

    def step(keep: bool, optimizer: optim.Optimizer) -> None:
        new = nn.tanh(cell(state + X))
        state.assign(new)
        optimizer.minimize(gx.mean(out(new if keep else state) ** 2))

    with pytest.warns(UserWarning, match="no gradient reaches 0: the loss reads state after it was assigned") as seen:
        gx.trace(step, False, both)
    assert seen[0].filename == __file__
    with pytest.raises(TraceError, match="no gradient reaches weight: the loss reads state after"):
        gx.trace(step, False, optim.SGD(cell))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gx.trace(step, True, both)
