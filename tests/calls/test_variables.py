"""What a call promises of Variables, on compiled code: when they change, and who sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn, optim
from graphc.backends.llvm.run.instance import Instance

native = pytest.mark.parametrize("backend", ["llvm"], indirect=True)  # what only machine code can get wrong


def test_swap():
    a, b = gx.Variable(np.arange(40.0)), gx.Variable(-np.arange(40.0))

    @gx.compile
    def swap() -> None:
        old = a.value
        a.assign(b)
        b.assign(old)

    for _ in range(3):
        swap()
    assert a.numpy().tolist() == (-np.arange(40.0)).tolist() and b.numpy().tolist() == np.arange(40.0).tolist()


@pytest.mark.parametrize("shape", [(5, 3), (64, 48), (40, 700)])
def test_an_old_value_transposed(shape):
    """The kernel stores the transposed result from tiles, and updates the Variable in place."""
    rng = np.random.default_rng(0)
    old, x = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    w = gx.Variable(old)

    @gx.compile
    def step(x: Any) -> Any:
        turned = (w * x).T
        w.assign(gx.exp2(x) * 0.5)
        return turned

    np.testing.assert_allclose(step(x).numpy(), (old * x).T, rtol=1e-6)
    np.testing.assert_allclose(w.numpy(), np.exp2(x) / 2, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 100_000), (3, 40_000), (300, 50)])
def test_an_update_between_sweeps_over_rows(shape):
    """Few long rows are cut into parts, whose sweeps are kernels of their own."""
    rng = np.random.default_rng(0)
    x, old = rng.standard_normal(shape).astype(np.float32), rng.standard_normal(shape[0]).astype(np.float32)
    w = gx.Variable(old)

    @gx.compile
    def step(x: Any) -> Any:
        top = gx.max(x, axis=1)
        y = gx.max(gx.minimum(x * top[:, None], w[:, None]), axis=1)
        w.assign(top * 0.5 + 1)
        return y

    top = x.max(1)
    wanted = np.minimum(x * top[:, None], old[:, None]).max(1)
    np.testing.assert_allclose(step(x).numpy(), wanted, rtol=1e-6)
    np.testing.assert_allclose(w.numpy(), top / 2 + 1, rtol=1e-6)


def test_a_ring_of_variables_and_work_on_the_way():
    v = [gx.Variable(np.full(9, float(i))) for i in range(3)]

    @gx.compile
    def turn() -> Any:
        old = [x.value for x in v]
        for i in range(3):
            v[i].assign(old[(i + 1) % 3] * 10 + old[i])
        return old[0] + v[0]

    assert turn().tolist() == [10.0] * 9
    assert [x.numpy()[0] for x in v] == [10, 21, 2]


def test_a_snapshot_is_of_its_time():
    w = gx.Variable(np.ones(1000, np.float32))

    @gx.compile
    def step() -> None:
        w.assign(w * 2)

    before = w.value
    step()
    between = w.value
    step()
    assert (before[0].item(), between[0].item(), w.value[0].item()) == (1, 2, 4)
    assert w.value is w.value is not between


def test_an_old_value_as_the_result():
    w = gx.Variable(np.ones(1000, np.float32))

    @gx.compile
    def step(x: Any) -> Any:
        old = w.value
        w.assign(w + x)
        return old, w.value, old

    results = [step(np.float32(1)) for _ in range(3)]
    assert [(a[0].item(), b[0].item(), c[0].item()) for a, b, c in results] == [(1, 2, 1), (2, 3, 2), (3, 4, 3)]


def test_tied_weights():
    """One Variable in two places is one variable of the graph, and its gradient the sum of both."""
    w = gx.Variable(np.eye(3, dtype=np.float32) * 2)
    optimizer = optim.SGD([w], lr=1.0)

    @gx.compile
    def step(x: Any) -> Any:
        loss = gx.sum((x @ w) @ w.T)
        optimizer.minimize(loss)
        return loss

    x = np.ones((1, 3), np.float32)
    assert step(x).item() == 12
    np.testing.assert_allclose(w.numpy(), np.eye(3) * 2 - 4 * np.ones((3, 3)))
    (trace,) = step.specializations
    assert sum(v is w for v in trace.variables) == 1


def test_one_variable_in_two_functions():
    v = gx.Variable(np.zeros(5, np.float32))

    @gx.compile
    def up(x: Any) -> None:
        v.assign(v + x)

    @gx.compile
    def double() -> Any:
        v.assign(v * 2)
        return v.value

    for _ in range(3):
        up(np.float32(1))
        double()
    assert v.numpy().tolist() == [14] * 5 and double()[0].item() == 28


def model_of_two() -> tuple[nn.Module, Any, Any, Any]:
    gx.random.seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.relu, nn.Linear(32, 4))
    optimizer = optim.SGD(model, lr=0.5)

    @gx.compile
    def step(x: Any, y: Any) -> Any:
        loss = nn.cross_entropy(model(x), y)
        optimizer.minimize(loss)
        return loss

    @gx.compile
    def predict(x: Any) -> Any:
        return model(x)

    return model, optimizer, step, predict


def numpy_model(model: nn.Module, x: np.ndarray) -> np.ndarray:
    w1, b1, w2, b2 = (p.numpy() for p in model.parameters())
    return np.maximum(x @ w1.T + b1, 0) @ w2.T + b2


def test_prediction_sees_the_last_step():
    model, _, step, predict = model_of_two()
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 16)).astype("f4"), rng.integers(0, 4, 64)
    losses = []
    for _ in range(5):
        np.testing.assert_allclose(predict(x).numpy(), numpy_model(model, x), rtol=1e-4, atol=1e-5)
        losses.append(step(x, y).item())
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.9 * losses[0]


def test_a_hyperparameter_changes_without_a_trace():
    w = gx.Variable(np.float32(10))
    optimizer = optim.SGD([w], lr=1.0)

    @gx.compile
    def step() -> None:
        optimizer.minimize(w * 2)

    found = []
    for rate in (1.0, 0.5, 0.0, 2):
        optimizer.lr = rate
        step()
        found.append(w.item())
    assert found == [8, 7, 7, 3] and len(step.specializations) == 1


@native
def test_prepared_work_is_done_once(monkeypatch):
    runs: list[None] = []
    prepare = Instance.prepare

    def counted(instance: Instance) -> int:
        runs.append(None)
        return prepare(instance)

    monkeypatch.setattr(Instance, "prepare", counted)
    w = gx.Variable(np.linspace(-1, 1, 64 * 48, dtype=np.float32).reshape(64, 48))
    other = gx.Variable(np.float32(0))

    @gx.compile
    def predict(x: Any) -> Any:
        return x @ gx.exp(w)

    @gx.compile
    def unrelated() -> None:
        other.assign(other + 1)

    @gx.compile
    def train() -> None:
        w.assign(w * 2)

    x = np.ones((32, 64), np.float32)

    def predicts_right() -> None:
        np.testing.assert_allclose(predict(x).numpy(), x @ np.exp(w.numpy()), rtol=1e-5)

    for _ in range(4):
        predicts_right()
        unrelated()
    assert len(runs) == 1, "nothing has changed"
    w.assign(w.numpy() / 2)
    for _ in range(3):
        predicts_right()
    assert len(runs) == 2, "assigned once"
    train()
    train()
    for _ in range(3):
        predicts_right()
    assert len(runs) == 3, "changed by another function, twice, before it was asked for"
