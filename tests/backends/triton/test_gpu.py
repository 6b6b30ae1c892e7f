"""Whole functions on a GPU against the reference: each kind of kernel, state, errors, and training.

Where there is no GPU, the same table runs on the llvm backend once, so that what it asks for is known to be right.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn, optim

RNG = np.random.default_rng(0)
gpu = pytest.mark.gpu


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


X, Y, BIG = f32(37, 53), f32(37, 53), f32(1000, 777)
INDEX = RNG.integers(0, 37, 200)
WHOLE = RNG.integers(-50, 50, (64, 33))
ROW, STEPS = f32(100_000), f32(20, 5, 16)
NARROW = [RNG.standard_normal((2, 4, 90, 32)).astype(np.float16) for _ in range(3)]


def attention(q: Any, k: Any, v: Any) -> Any:
    """Causal, as it is written by hand."""
    rows, columns = gx.arange(q.shape[-2])[:, None], gx.arange(k.shape[-2])[None, :]
    scores = gx.matmul(q, gx.swap_axes(k, -1, -2), dtype="float32") / q.shape[-1] ** 0.5
    return gx.astype(nn.softmax(gx.where(rows >= columns, scores, -np.inf)), v.dtype) @ v


def recurrent(x: Any, w: Any) -> Any:
    return gx.scan(lambda h, t: (gx.tanh(h @ w + t), gx.sum(h)), x[0], x)


def collatz(n: Any) -> Any:
    def step(state: Any) -> Any:
        n, steps = state
        return gx.where(n == 1, n, gx.where(n % 2 == 0, n // 2, 3 * n + 1)), steps + gx.astype(n > 1, "int64")

    return gx.while_loop(lambda state: gx.any(state[0] > 1), step, (n, gx.zeros_like(n)))


TABLE: dict[str, tuple[Callable[..., Any], list[np.ndarray]]] = {
    "copy": (lambda x: (x, x + 0), [X]),
    "elementwise": (lambda x, y: gx.tanh(x) * gx.exp(-y * y) + gx.where(x > y, x, 1 / (1 + gx.abs(y))), [X, Y]),
    "functions": (lambda x: (gx.sin(x), gx.log(gx.abs(x) + 1), gx.sqrt(gx.abs(x)), nn.gelu(x), gx.floor(x)), [X]),
    "views": (lambda x: (x.T, gx.flip(x[1:, ::2], axis=0), gx.reshape(x, (53, 37)), gx.concat([x, x], axis=1)), [X]),
    "row sums": (lambda x: (gx.sum(x, axis=1), gx.max(x, axis=1), gx.argmax(x, axis=1)), [BIG]),
    "column sums": (lambda x: (gx.sum(x, axis=0), gx.min(x, axis=0), gx.mean(x, axis=0)), [BIG]),
    "full sums": (lambda x: (gx.sum(x), gx.prod(1 + x[:2] / 1000), gx.any(x > 3), gx.var(x)), [BIG]),
    "softmax": (lambda x: (nn.softmax(x), nn.log_softmax(x, axis=0)), [BIG]),
    "layer norm": (lambda x: nn.layer_norm(x, (777,)), [BIG]),
    "product": (lambda a, b: a @ b, [f32(129, 200), f32(200, 65)]),
    "transposed product": (lambda a, b: a.T @ b.T, [f32(96, 130), f32(77, 96)]),
    "product with epilogue": (lambda a, b: nn.relu(a @ b + b[0]) * 2, [f32(64, 64), f32(64, 64)]),
    "batched product": (lambda a, b: a @ b, [f32(5, 33, 40), f32(5, 40, 17)]),
    "matrix and vector": (lambda a, b: (a @ b, b @ b), [f32(300, 500), f32(500)]),
    "half precision": (lambda a, b: a @ b, [f32(64, 96).astype(np.float16), f32(96, 32).astype(np.float16)]),
    "double precision": (lambda a, b: gx.exp(a) @ b, [RNG.random((20, 30)), RNG.random((30, 10))]),
    "integers": (lambda x: (x // 7, x % 7, x << 2, gx.sum(x, axis=1), gx.astype(x, gx.int8)), [WHOLE]),
    "booleans": (lambda x: (x > 0, gx.all(x > -50, axis=0), gx.astype(x > 0, gx.float32)), [WHOLE]),
    "gather": (lambda x, i: gx.take(x, i, axis=0), [X, INDEX]),
    "gather's gradient": (lambda x, i: gx.grad(lambda v: gx.sum(gx.take(v, i, axis=0) ** 2))(x), [X, INDEX]),
    "softmax's gradient": (lambda x, y: gx.grad(lambda v: gx.sum(nn.softmax(v) * y))(x), [X, Y]),
    "attention": (lambda q, k, v: nn.softmax(q @ k.T / 8) @ v, [f32(50, 64), f32(70, 64), f32(70, 24)]),
    "causal attention": (attention, [f32(2, 3, 150, 64), f32(2, 3, 150, 64), f32(2, 3, 150, 24)]),
    "causal attention in half precision": (attention, NARROW),
    "attention of grouped heads": (
        lambda q, k, v: nn.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True, window=40),
        [f32(2, 6, 100, 32), f32(2, 2, 130, 32), f32(2, 2, 130, 32)],
    ),
    "causal attention's gradients": (
        lambda q, k, v: gx.grad(lambda *x: gx.sum(attention(*x) ** 2), argnums=(0, 1, 2))(q, k, v),
        [f32(2, 70, 32), f32(2, 70, 32), f32(2, 70, 32)],
    ),
    "sorting": (lambda x: (gx.sort(x), gx.argsort(x, axis=0, descending=True), *gx.top_k(x, 5)), [BIG]),
    "a long row": (lambda x: (gx.sort(x, descending=True), gx.argsort(x)), [ROW]),
    "searching": (lambda x, y: gx.searchsorted(gx.sort(x), y, side="right"), [ROW, BIG]),
    "sorting's gradient": (lambda x: gx.grad(lambda v: gx.sum(gx.sort(v)[:, ::2] ** 2))(x), [X]),
    "cumulative": (lambda x: (gx.cumulative_sum(x, axis=1), gx.cumulative_max(x, axis=0)), [BIG]),
    "cumulative of exponentials": (lambda x: gx.logcumsumexp(x, axis=1), [BIG]),
    "a long cumulative row": (lambda x: gx.cumulative_sum(x / 100), [ROW]),
    "cumulative's gradient": (lambda x: gx.grad(lambda v: gx.sum(gx.cumulative_prod(v, axis=1)))(x), [X]),
    "recurrence": (recurrent, [STEPS, f32(16, 16) / 4]),
    "recurrence's gradient": (
        lambda x, w: gx.grad(lambda u: gx.sum(recurrent(x, u)[0]))(w), [STEPS, f32(16, 16) / 4],
    ),
    "while": (collatz, [np.arange(1, 30)]),
    "branches": (lambda x: gx.cond(gx.sum(x) > 0, lambda v: v * 2, lambda v: v @ v.T @ v / 50, x), [X]),
    "one element": (lambda x: gx.sum(x) + x[0, 0], [X]),
    "empty": (lambda x: (gx.sum(x[:0], axis=0), x[:0] * 2), [X]),
}


def leaves(result: Any) -> list[np.ndarray]:
    return [t.numpy() for t in (result if isinstance(result, tuple) else (result,))]


def agrees(name: str, backend: str) -> None:
    function, arrays = TABLE[name]
    wanted = leaves(gx.compile(function, backend="reference")(*arrays))
    compiled = gx.compile(function, backend=backend)
    for _ in range(2):  # the second call finds everything in place
        for got, want in zip(leaves(compiled(*arrays)), wanted, strict=True):
            assert got.dtype == want.dtype and got.shape == want.shape
            tolerance = {2: 2e-2, 4: 2e-4, 8: 1e-9}[max(2, want.dtype.itemsize)] if want.dtype.kind == "f" else 0
            np.testing.assert_allclose(got.astype("f8"), want.astype("f8"), rtol=tolerance, atol=tolerance)


@gpu
@pytest.mark.parametrize("name", TABLE)
def test_functions(name: str) -> None:
    agrees(name, "triton")


@pytest.mark.parametrize("name", TABLE)
def test_the_table_itself(name: str) -> None:
    agrees(name, "llvm")


@gpu
def test_the_device_can_be_opened_and_keeps_what_it_is_given() -> None:
    from graphc.backends.triton.cuda import first_device

    device = first_device()
    assert device.architecture >= 70 and str(device.describe()["device"])
    f = gx.compile(lambda x: x, backend="triton")
    for size in (1, 1000, 1 << 22):
        x = f32(size)
        assert (f(x).numpy() == x).all()


@gpu
def test_random_bits_are_those_of_every_backend() -> None:
    found = {}
    for backend in ("reference", "triton"):
        gx.random.seed(7)
        f = gx.compile(lambda: (gx.random.bits((1000,)), gx.random.uniform((1000,))), backend=backend)
        found[backend] = [leaves(f()) for _ in range(3)]
    for a, b in zip(found["reference"], found["triton"], strict=True):
        assert (a[0] == b[0]).all() and (a[1] == b[1]).all()


@gpu
def test_variables_and_prepared_work() -> None:
    w = gx.Variable(f32(64, 48))
    predict = gx.compile(lambda x: x @ gx.exp(w), backend="triton")
    step = gx.compile(lambda: w.assign(w * 0.5), backend="triton")
    x = f32(8, 64)
    for _ in range(3):
        np.testing.assert_allclose(predict(x).numpy(), x @ np.exp(w.numpy()), rtol=1e-4, atol=1e-4)
        step()
        w.assign(w.numpy() + 0.1)


@gpu
def test_a_bad_index_changes_nothing() -> None:
    total = gx.Variable(np.float32(0))

    @gx.compile(backend="triton")
    def f(x: Any, i: Any) -> Any:
        y = gx.take(x, i)
        total.assign(total + gx.sum(y))
        return y

    x = f32(10)
    f(x, np.array([1, 2]))
    before = total.item()
    with pytest.raises(IndexError):
        f(x, np.array([1, 10]))
    assert total.item() == before
    np.testing.assert_array_equal(f(x, np.array([0, -1])).numpy(), x[[0, -1]])


def losses(backend: str, steps: int) -> list[float]:
    sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))
    try:
        from digits import digits, load
    finally:
        sys.path.pop(0)
    train, _ = load()
    task = digits(seed=0, backend=backend)
    found = []
    for n in range(steps):
        batch = slice(128 * (n % 10), 128 * (n % 10 + 1))
        found.append(leaves(task.train_step(train.images[batch], train.labels[batch]))[0].item())
    return found


@gpu
def test_the_digits_model_learns_what_the_reference_learns() -> None:
    got, wanted = losses("triton", 40), losses("reference", 40)
    np.testing.assert_allclose(got, wanted, rtol=2e-3, atol=1e-3)
    assert got[-1] < got[0] / 2


@gpu
def test_an_optimizer_of_each_kind() -> None:
    for make in (lambda m: optim.SGD(m, lr=0.1, momentum=0.9), lambda m: optim.AdamW(m, lr=1e-2)):
        found = {}
        for backend in ("reference", "triton"):
            gx.random.seed(3)
            model = nn.Sequential(nn.Linear(12, 24), nn.gelu, nn.LayerNorm(24), nn.Linear(24, 3))
            optimizer = make(model)

            @gx.compile(backend=backend)
            def step(x: Any, y: Any, model: Any = model, optimizer: Any = optimizer) -> Any:
                loss = nn.cross_entropy(model(x), y)
                optimizer.minimize(loss)
                return loss

            x, y = np.ones((6, 12), np.float32) * np.arange(6, dtype=np.float32)[:, None] / 6, np.arange(6) % 3
            found[backend] = [step(x, y).item() for _ in range(8)]
        np.testing.assert_allclose(found["triton"], found["reference"], rtol=1e-3)
