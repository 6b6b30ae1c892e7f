"""What moves between the host and a device, counted on one that is this process's memory: inputs, and what is read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn, optim
from graphc.backends.triton import cuda
from graphc.backends.triton.interpret import Interpreter
from graphc.backends.triton.interpreted import InterpretedDevice
from graphc.dataclass import replace
from graphc.frontend import context
from graphc.frontend.context import untraced

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((8, 4)).astype(np.float32), RNG.standard_normal((8, 2)).astype(np.float32)
LABELS = RNG.integers(0, 2, 8)


@pytest.fixture
def device(interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch) -> InterpretedDevice:
    """What the backend takes for the GPU."""
    made = InterpretedDevice(interpreter)
    monkeypatch.setattr(cuda, "first_device", lambda: made)
    return made


@pytest.fixture(autouse=True)
def on_triton() -> Iterator[None]:
    with gx.using(backend="triton"):
        yield


def mean_square(y: Any, wanted: Any) -> Any:
    return gx.mean((y - wanted) ** 2)


def parts(loss: Any = mean_square, make: Any = optim.Adam) -> tuple[Any, Any, Any]:
    """A small model, what trains it and what uses it."""
    gx.random.seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.tanh, nn.Linear(8, 2))
    optimizer = make(model, lr=0.05)

    @gx.compile
    def train_step(x: Any, y: Any) -> Any:
        found = loss(model(x), y)
        optimizer.minimize(found)
        return found

    @gx.compile
    def predict(x: Any) -> Any:
        return model(x)

    return model, train_step, predict


def moved(device: InterpretedDevice) -> tuple[list[int], list[int], list[int]]:
    """The transfers since the last time."""
    found = device.uploads, device.downloads, device.copies
    device.uploads, device.downloads, device.copies = [], [], []
    return found


def test_a_hundred_steps_move_inputs_and_losses(device: InterpretedDevice) -> None:
    model, train_step, predict = parts()
    losses = [train_step(X, Y).item()]
    moved(device)  # the weights have gone there
    for _ in range(100):
        losses.append(train_step(X, Y).item())
    assert moved(device) == ([X.nbytes, Y.nbytes] * 100, [4] * 100, [])
    assert losses[-1] < losses[0] / 10

    y = predict(X)  # finds the trained weights where they are
    assert moved(device) == ([X.nbytes], [], [])
    assert y.numpy().shape == (8, 2) and moved(device) == ([], [y.nbytes], [])

    weights = list(model.parameters())
    assert all(w.device == "interpreted" for w in weights) and moved(device) == ([], [], [])
    read = [w.numpy() for w in weights]
    assert moved(device) == ([], [w.nbytes for w in weights], [])
    with gx.using(backend="reference"):
        _, step, use = parts()
        expected = [step(X, Y).item() for _ in range(101)]
        np.testing.assert_allclose(losses, expected, rtol=2e-3)
        np.testing.assert_allclose(y.numpy(), use(X).numpy(), rtol=1e-2, atol=1e-3)
    assert all(np.isfinite(w).all() for w in read)


def test_results_stay_where_the_next_call_takes_them(device: InterpretedDevice) -> None:
    double = gx.compile(lambda x: x * 2)
    x = double(X)
    moved(device)
    for _ in range(3):
        x = double(x)
    assert moved(device) == ([], [], []) and x.device == "interpreted" and x.shape == X.shape
    np.testing.assert_array_equal(x.numpy(), X * 16)
    np.testing.assert_array_equal(x.numpy(), X * 16)
    assert moved(device) == ([], [x.nbytes], []) and x.device == "interpreted"


def test_steps_that_may_meet_a_bad_index_read_a_word_each(device: InterpretedDevice) -> None:
    model, train_step, _ = parts(nn.cross_entropy)
    train_step(X, LABELS)
    moved(device)
    train_step(X, LABELS)
    uploads, downloads, copies = moved(device)
    assert uploads == [X.nbytes, LABELS.nbytes] and len(downloads) == 1 and downloads[0] <= 8 and copies == []

    before = [w.numpy() for w in model.parameters()]
    with pytest.raises(IndexError):
        train_step(X, LABELS + 5)
    for w, old in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(w.numpy(), old)
    assert np.isfinite(train_step(X, LABELS).item())


def test_backends_hand_variables_to_each_other(device: InterpretedDevice) -> None:
    count = gx.Variable(np.zeros(3, np.float32))
    prepared = gx.Variable(np.zeros((3, 3), np.float32))
    functions = {
        backend: gx.compile(lambda: count.assign(count + 1) or prepared.assign(prepared + 1), backend=backend)
        for backend in ("triton", "llvm", "reference")
    }
    products = {b: gx.compile(lambda x: x @ gx.exp(prepared), backend=b) for b in functions}
    x = np.ones((2, 3), np.float32)
    order = ("triton", "llvm", "triton", "triton", "reference", "llvm", "llvm", "triton", "llvm")
    for number, backend in enumerate(order):
        if number == 5:
            count.assign(count * 1)
        functions[backend]()
        for product in products.values():
            np.testing.assert_allclose(product(x).numpy(), np.full((2, 3), 3 * np.exp(number + 1)), rtol=1e-5)
        assert count.tolist() == [number + 1] * 3


def test_snapshots_keep_what_they_saw(device: InterpretedDevice) -> None:
    w = gx.Variable(X)
    halve = gx.compile(lambda: w.assign(w * 0.5))
    halve()
    moved(device)
    first = w.value
    assert w.value is first and first.device == "interpreted"
    halve()
    second = w.value
    assert moved(device) == ([], [], [X.nbytes])  # the write found its memory shared
    halve()
    del second
    halve()
    assert moved(device) == ([], [], [X.nbytes])
    np.testing.assert_array_equal(first.numpy(), X / 2)
    np.testing.assert_array_equal(w.numpy(), X / 16)


def test_loops_that_write_variables_write_them_once(device: InterpretedDevice) -> None:
    """What the host steers comes before anything that can't be taken back."""
    total = gx.Variable(np.float32(1))

    @gx.compile
    def grow(limit: Any) -> Any:
        gx.while_loop(lambda i: total < limit, lambda i: (total.assign(total * 2), i + 1)[1], 0)
        return total + 0

    for limit, wanted in ((5, 8), (5, 8), (100, 128)):
        assert grow(np.float32(limit)).item() == total.item() == wanted


def test_numbers_that_are_not_finite_are_found_there_too(device: InterpretedDevice) -> None:
    w = gx.Variable(X)
    f = gx.compile(lambda x: w.assign(gx.log(x)) or gx.sum(w))
    token = context._context.set(untraced(replace(context.current_settings(), check_nan=True)))
    try:
        assert f(np.ones_like(X)).device == "cpu"
        with pytest.raises(gx.NotFiniteError):
            f(-np.ones_like(X))
    finally:
        context._context.reset(token)
    assert not w.numpy().any()


def test_threads_take_turns(device: InterpretedDevice) -> None:
    model, train_step, predict = parts()
    failed: list[BaseException] = []

    def work(function: Any, args: tuple[Any, ...]) -> None:
        try:
            with gx.using(backend="triton"):
                for _ in range(5):
                    assert np.isfinite(function(*args).numpy()).all()
                    assert all(np.isfinite(w.numpy()).all() for w in model.parameters())
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=a) for a in ((train_step, (X, Y)), (predict, (X,)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
