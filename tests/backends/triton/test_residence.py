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
from graphc.devices import memory_at
from graphc.frontend import context
from graphc.frontend.context import untraced
from graphc.frontend.dlpack import _inside, exported
from graphc.storage import Storage

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


def test_variables_take_what_is_on_the_device_there(device: InterpretedDevice) -> None:
    w = gx.Variable(X)
    halve = gx.compile(lambda: w.assign(w * 0.5))
    halve()
    best = w.value
    halve(), halve()
    moved(device)
    w.assign(best)
    assert moved(device) == ([], [], [X.nbytes]) and w.device == "interpreted"
    halve()
    np.testing.assert_array_equal(w.numpy(), X / 4)
    np.testing.assert_array_equal(best.numpy(), X / 2)
    with pytest.raises(gx.ShapeError):
        w.assign(gx.compile(lambda x: x[0])(X))


def test_loops_that_write_variables_write_them_once(device: InterpretedDevice) -> None:
    """What the host steers comes before anything that can't be taken back."""
    total = gx.Variable(np.float32(1))

    @gx.compile
    def grow(limit: Any) -> Any:
        gx.while_loop(lambda i: total < limit, lambda i: (total.assign(total * 2), i + 1)[1], 0)
        return total + 0

    for limit, wanted in ((5, 8), (5, 8), (100, 128)):
        assert grow(np.float32(limit)).item() == total.item() == wanted


def test_tensors_go_where_they_are_sent(device: InterpretedDevice) -> None:
    x = gx.asarray(X)
    there = x.to_device("interpreted")
    assert moved(device) == ([X.nbytes], [], []) and there.device == "interpreted"
    assert there.to_device("interpreted") is there and there.to_device("cpu").device == "cpu" == x.device
    moved(device)
    double = gx.compile(lambda x: x * 2)
    np.testing.assert_array_equal(double(there).numpy(), X * 2)
    assert moved(device) == ([], [X.nbytes], [])
    for made in (
        gx.zeros((2, 3), device=there.device), gx.arange(6, device=there.device), gx.eye(2, device=there.device),
        gx.linspace(0, 1, 5, device=there.device), gx.asarray([1, 2], device=there.device),
        gx.ones_like(there, device=there.device), gx.astype(x, "float64", device=there.device),
    ):  # fmt: skip
        assert made.device == "interpreted"
    assert gx.asarray(X).device == gx.zeros(3).device == "cpu" and (there + 1).device == "cpu"
    assert "interpreted" in gx.__array_namespace_info__().devices()
    with pytest.raises(ValueError, match="no streams"):
        there.to_device("cpu", stream=1)


def address_of(x: gx.Tensor, device: InterpretedDevice) -> int:
    held = x._held()
    assert isinstance(held, Storage)
    return held.on(device).block.address


class Capsule:
    """What someone has been given who reads on this device."""

    def __init__(self, x: gx.Tensor, device: InterpretedDevice, **options: Any) -> None:
        self.device = device
        self.capsule = x.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device.code

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "bool", "int64"])
def test_device_memory_is_handed_over_where_it_is(device: InterpretedDevice, dtype: str) -> None:
    double = gx.compile(lambda x: x | x if dtype == "bool" else x + x)
    x = double(gx.asarray(X > 0, dtype=dtype))
    assert x.__dlpack_device__() == device.code == (12, 0)
    address = address_of(x, device)
    moved(device)

    back = gx.from_dlpack(Capsule(x, device, max_version=(1, 0)))
    assert back.device == x.device and back.dtype is x.dtype and back.shape == x.shape
    assert address_of(back, device) == address and moved(device) == ([], [], [])
    y = double(Capsule(x, device, max_version=(1, 0), dl_device=device.code))  # an argument, taken as it is
    assert moved(device) == ([], [], [])
    np.testing.assert_array_equal(y.numpy(), double(x).numpy())
    moved(device)

    own = gx.from_dlpack(Capsule(x, device, copy=True))
    old = gx.from_dlpack(Capsule(x, device))  # whom nobody told that it must not write
    assert moved(device) == ([], [], [x.nbytes] * 2)
    assert {address_of(t, device) for t in (own, old)}.isdisjoint({address})
    for copied in (own, old, gx.from_dlpack(Capsule(x, device, copy=False), copy=True), back.to_device("cpu")):
        np.testing.assert_array_equal(copied.numpy(), x.numpy())
    assert gx.from_dlpack(Capsule(x, device, max_version=(1, 0)), device="cpu").device == "cpu"


def test_others_get_at_device_memory_by_the_rules(device: InterpretedDevice) -> None:
    w = gx.Variable(X)
    gx.compile(lambda: w.assign(w * 2))()
    x = w.value
    for wrong in (
        lambda: np.from_dlpack(x),  # which reads in the CPU's memory only
        lambda: x.__dlpack__(dl_device=(2, 0)),
        lambda: x.__dlpack__(dl_device=(1, 0), copy=False),
        lambda: gx.from_dlpack(Capsule(x, device, copy=False), device="cpu", copy=False),
    ):
        with pytest.raises((BufferError, RuntimeError)):
            wrong()
    np.testing.assert_array_equal(np.asarray(x), X * 2)
    if np.lib.NumpyVersion(np.__version__) >= "2.2.0":
        np.testing.assert_array_equal(np.from_dlpack(x, device="cpu"), X * 2)


def test_memory_that_someone_else_holds_is_not_written_to(device: InterpretedDevice) -> None:
    w = gx.Variable(X)
    gx.compile(lambda: w.assign(w * 2))()
    given = gx.from_dlpack(Capsule(w.value, device, max_version=(1, 0)))
    gx.compile(lambda: w.assign(w * 2))()
    np.testing.assert_array_equal(given.numpy(), X * 2)
    np.testing.assert_array_equal(w.numpy(), X * 4)


def test_memory_that_is_not_aligned_is_copied_there(device: InterpretedDevice) -> None:
    whole = gx.compile(lambda x: x * 1)(np.arange(20, dtype=np.float32))
    part = memory_at(address_of(whole, device) + 4, 64, whole).view(np.float32)
    capsule = exported(part, versioned=True)
    _inside(capsule).device_type = device.code[0]

    class Part:
        def __dlpack_device__(self) -> tuple[int, int]:
            return device.code

        def __dlpack__(self, **options: Any) -> Any:
            return capsule

    moved(device)
    np.testing.assert_array_equal(gx.compile(lambda x: x * 2)(Part()).numpy(), np.arange(1, 17) * 2)
    assert moved(device) == ([], [64], [64])


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
