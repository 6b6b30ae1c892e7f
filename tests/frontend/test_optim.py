"""Optimizers against their formulas in NumPy, step by step."""

from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import ShapeError, TraceError, nn, optim

START = np.array([1.0, -2.0, 3.0])


def run(make: Any, dtype: str = "float64", steps: int = 4) -> np.ndarray:
    """Minimize sum(w⁴)/4, whose gradient is w³, from START."""
    w = gx.Variable(START, dtype=dtype)
    optimizer = make([w])

    @gx.compile
    def step() -> None:
        optimizer.minimize(gx.sum(w**4) / 4)

    for _ in range(steps):
        step()
    assert len(step.specializations) == 1
    return w.numpy().astype(np.float64)


def sgd(
    lr: float, momentum: float = 0, dampening: float = 0, decay: float = 0, nesterov: bool = False
) -> np.ndarray:
    w, v = START.copy(), None
    for _ in range(4):
        g = w**3 + decay * w
        if momentum:
            v = g.copy() if v is None else momentum * v + (1 - dampening) * g
            g = g + momentum * v if nesterov else v
        w = w - lr * g
    return w


def adam(
    lr: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    decay: float = 0,
    decoupled: bool = False,
) -> np.ndarray:
    w, m, v = START.copy(), np.zeros(3), np.zeros(3)
    for t in range(1, 5):
        g = w**3
        if decoupled:
            w = w - lr * decay * w
        else:
            g = g + decay * w
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w = w - lr / (1 - b1**t) * m / (np.sqrt(v) / np.sqrt(1 - b2**t) + eps)
    return w


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_decay": 0.1},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
        {"momentum": 0.9, "nesterov": True},
    ],
)
def test_sgd(options: dict[str, Any]) -> None:
    plain = {"decay" if k == "weight_decay" else k: v for k, v in options.items()}
    np.testing.assert_allclose(run(lambda p: optim.SGD(p, 0.01, **options)), sgd(0.01, **plain), rtol=1e-12)


def test_adam() -> None:
    np.testing.assert_allclose(run(lambda p: optim.Adam(p, 0.1)), adam(0.1), rtol=1e-12)
    options: Any = {"betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}
    np.testing.assert_allclose(
        run(lambda p: optim.Adam(p, 0.1, **options)), adam(0.1, 0.8, 0.9, 1e-3, 0.1), rtol=1e-12
    )
    np.testing.assert_allclose(
        run(lambda p: optim.AdamW(p, 0.1)), adam(0.1, decay=0.01, decoupled=True), rtol=1e-12
    )


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-5), ("float16", 1e-2), ("bfloat16", 3e-2)])
def test_other_dtypes(dtype: str, rtol: float) -> None:
    np.testing.assert_allclose(run(lambda p: optim.Adam(p, 0.1), dtype), adam(0.1), rtol=rtol)
    np.testing.assert_allclose(run(lambda p: optim.SGD(p, 0.01, 0.9), dtype), sgd(0.01, 0.9), rtol=rtol)


def test_hyperparameters_take_effect_without_another_trace() -> None:
    w = gx.Variable([1.0])
    optimizer = optim.SGD([w], lr=1.0)

    @gx.compile
    def step() -> None:
        optimizer.minimize(gx.sum(w))

    step()
    optimizer.lr = 0.25
    step()
    assert w.item() == -0.25 and optimizer.lr == 0.25 and len(step.specializations) == 1
    optimizer.weight_decay = 1.0
    step()
    assert w.item() == -0.25 - 0.25 * (1 - 0.25)


def test_rates_can_be_set_inside_a_trace() -> None:
    w = gx.Variable([1.0])
    optimizer = optim.SGD([w], lr=1.0)

    @gx.compile
    def step() -> None:
        optimizer.lr = optimizer.lr * 0.5
        optimizer.minimize(gx.sum(w))

    step()
    step()
    assert w.item() == 1 - 0.5 - 0.25 and optimizer.lr == 0.25


def test_momentum_needs_memory() -> None:
    with pytest.raises(ValueError, match="no memory for momentum"):
        optim.SGD([gx.Variable(1.0)]).momentum = 0.9
    optimizer = optim.SGD([gx.Variable(1.0)], momentum=0.5)
    optimizer.momentum = 0.9
    assert optimizer.momentum == 0.9
    with pytest.raises(ValueError, match="nesterov"):
        optim.SGD([gx.Variable(1.0)], nesterov=True)


def test_only_trainable_and_each_once() -> None:
    a, b = gx.Variable(1.0), gx.Variable(1.0, trainable=False)
    assert optim.SGD([a, b, a]).parameters == [a]
    layer = nn.Linear(2, 2)
    assert optim.SGD(nn.Sequential(layer, layer)).names == ["0.weight", "0.bias"]
    with pytest.raises(TraceError, match="needs trainable"):
        optim.SGD([b])


def test_what_optimizers_take() -> None:
    w = gx.Variable(START)
    assert optim.SGD(w).parameters == [w]
    assert optim.AdamW(w, betas=[0.8, 0.9]).beta1 == 0.8  # type: ignore[arg-type]
    for bad in ([np.ones(3)], [w, "w"], {"w": w}):
        with pytest.raises(TraceError, match=r"a module or Variables(.|\n)*test_optim"):
            optim.SGD(bad)  # type: ignore[arg-type]
    for betas in ((0.9,), (0.9, 0.9, 0.9), 0.9):
        with pytest.raises(ShapeError, match=r"two numbers(.|\n)*test_optim"):
            optim.Adam(w, betas=betas)  # type: ignore[arg-type]


def test_minimize_reaches_a_parameter_or_raises() -> None:
    w, other = gx.Variable([1.0]), gx.Variable([1.0])
    optimizer = optim.Adam([w, other], lr=0.5)

    @gx.compile
    def step() -> None:
        optimizer.minimize(gx.sum(w))

    step()
    assert w.item() == pytest.approx(0.5) and other.item() == 1
    with pytest.raises(TraceError, match="depends on none of the 2 parameters"):
        gx.trace(lambda x: optimizer.minimize(gx.sum(x)), np.ones(2, np.float32))
    with pytest.raises(TraceError, match="traced values"):
        optimizer.minimize(gx.sum(w))


def test_minimize_after_the_parameters_changed_is_an_error() -> None:
    w = gx.Variable([1.0])
    optimizer = optim.SGD([w])

    def twice() -> None:
        loss = gx.sum(w * w)
        optimizer.minimize(loss)
        optimizer.minimize(loss)

    with pytest.raises(TraceError, match="before it was assigned"):
        gx.trace(twice)


def test_given_gradients() -> None:
    w = gx.Variable([1.0, 2.0])
    optimizer = optim.SGD([w], lr=1.0)

    @gx.compile
    def step(limit: gx.Tensor) -> None:
        g = gx.gradients(gx.sum(w * w), w)
        optimizer.apply([gx.clip(g, -limit, limit)])

    step(np.float32(3))
    assert w.tolist() == [-1, -1]
    with pytest.raises(gx.ShapeError, match="one gradient for each"):
        gx.trace(lambda: optimizer.apply([]))


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, lambda p: optim.SGD(p, momentum=0.9)])
def test_updates_belong_inside_a_trace(make: Any) -> None:
    w = gx.Variable(START)
    optimizer = make([w])
    before = {name: v.tolist() for name, v in optimizer.state_dict().items()}
    with pytest.raises(TraceError, match=r"part of a traced function(.|\n)*test_optim"):
        optimizer.apply([np.ones(3)])
    assert {name: v.tolist() for name, v in optimizer.state_dict().items()} == before
    assert w.tolist() == START.tolist()


def test_state_continues_elsewhere() -> None:
    def made() -> tuple[Any, ...]:
        gx.random.seed(0)
        model = nn.Linear(3, 1)
        optimizer = optim.Adam(model, lr=0.1)
        x = np.ones((2, 3), np.float32)
        return model, optimizer, gx.compile(lambda: optimizer.minimize(gx.sum(model(x) ** 2)))

    model, optimizer, step = made()
    step()
    other, other_optimizer, other_step = made()
    other.load_state_dict(model.state_dict())
    other_optimizer.load_state_dict(optimizer.state_dict())
    step()
    other_step()
    assert other.weight.tolist() == model.weight.tolist()
    assert "first_moments.weight" in optimizer.state_dict() and "lr" in optimizer.state_dict()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", [lambda w: optim.Adam(w), lambda w: optim.SGD(w, momentum=0.9)], ids=["Adam", "SGD"])
def test_averages_of_nothing_end_at_zero(make: Any, dtype: str) -> None:
    """And not among the subnormal numbers, where 0.9 · x rounds to x, and processors are a hundred times slower."""
    w = gx.Variable(np.ones(4), dtype=dtype)
    optimizer = make([w])
    gradient = gx.Variable(np.array([1.0, -1.0, np.nan, 0.0]), dtype=dtype)
    step = gx.compile(lambda: optimizer.apply([gradient]))
    step()
    gradient.assign(np.zeros(4, dtype))
    (moments, *_) = [v for v in optimizer.named_variables().values() if v.shape == (4,)]
    moments.assign((moments.numpy() * 1e30 * np.finfo(dtype).smallest_normal).astype(dtype))
    for _ in range(700):
        step()
    assert moments.numpy()[[0, 1, 3]].tolist() == [0, 0, 0] and np.isnan(moments.numpy()[2])
