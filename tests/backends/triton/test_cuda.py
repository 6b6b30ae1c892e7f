"""The GPU's side of the driver: what is asked of it, in what order, and with what memory, on a stub of it."""

from __future__ import annotations

import gc
import os
import sys
import threading
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn, optim
from graphc.backends.triton import cuda
from graphc.backends.triton.interpret import Interpreter
from graphc.devices import opened
from graphc.errors import CompileError, UnsupportedError

from .stub_driver import STREAM, StubDriver, compiled

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((8, 4)).astype(np.float32), RNG.standard_normal((8, 2)).astype(np.float32)


@pytest.fixture
def driver(interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = StubDriver(interpreter)
    monkeypatch.setattr(cuda, "_driver", lambda: made)
    monkeypatch.setattr(cuda, "compile_source", compiled)
    cuda.first_device.cache_clear()
    yield made
    cuda.first_device.cache_clear()
    gc.collect()


def test_a_model_is_trained_there(driver: StubDriver) -> None:
    found = {}
    for backend in ("reference", "triton"):
        gx.random.seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.tanh, nn.Linear(8, 2))
        optimizer = optim.Adam(model, lr=0.05)

        @gx.compile(backend=backend)
        def step(x: Any, y: Any, model: Any = model, optimizer: Any = optimizer) -> Any:
            loss = gx.mean((model(x) - y) ** 2)
            optimizer.minimize(loss)
            return loss

        predict = gx.compile(lambda x, model=model: model(x), backend=backend)
        losses = [step(X, Y).item() for _ in range(5)]
        found[backend] = (losses, predict(X).numpy(), [p.numpy() for p in model.parameters()])
    for got, want in zip(found["triton"], found["reference"], strict=True):
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-4)
    assert not driver.waiting and opened("cuda:0") is cuda.first_device()
    assert cuda.first_device().describe()["device"] == "Stub" and cuda.first_device().stream == STREAM

    del model, optimizer, step, predict
    gc.collect()
    assert not driver.memory, "memory that nobody gives back"


def test_copies_are_as_few_as_can_be(driver: StubDriver) -> None:
    w = gx.Variable(X)
    step = gx.compile(lambda x: (w.assign(w + x), gx.sum(w))[1], backend="triton")
    step(X)
    driver.counts.clear()
    results = [step(X) for _ in range(10)]
    assert driver.counts["cuMemcpyHtoDAsync"] == 10 and driver.counts["cuStreamSynchronize"] == 0
    assert driver.counts["cuMemcpyDtoHAsync"] == driver.counts["cuMemcpyDtoDAsync"] == 0
    assert all(np.isfinite(r.item()) for r in results)
    assert driver.counts["cuMemcpyDtoHAsync"] == driver.counts["cuStreamSynchronize"] == 10


def test_whoever_measures_waits(driver: StubDriver) -> None:
    f = gx.compile(lambda x: x + 1, backend="triton")
    f.benchmark(X, seconds=0.001)
    assert driver.counts["cuStreamSynchronize"] >= 15


def test_pinned_memory_is_waited_for(driver: StubDriver) -> None:
    f = gx.compile(lambda x: x + 1, backend="triton")
    f(X)
    assert driver.counts["cuStreamSynchronize"] == 0
    driver.failing.clear()
    f(X)
    assert driver.counts["cuStreamSynchronize"] == 1


def test_any_thread_may_call_and_read(driver: StubDriver) -> None:
    f = gx.compile(lambda x: x * 2, backend="triton")
    found: list[np.ndarray] = []
    result = f(X)
    for read in (lambda: found.append(f(X).numpy()), lambda: found.append(result.numpy())):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    assert len(found) == 2 and all((x == X * 2).all() for x in found)


def test_a_forked_process_is_told(driver: StubDriver) -> None:
    f = gx.compile(lambda x: x * 2, backend="triton")
    y = f(X)
    driver.counts.clear()
    child = os.fork()
    if not child:
        status = 1
        try:
            for use in (lambda: f(X), lambda: y.numpy()):
                with pytest.raises(UnsupportedError, match="forked"):
                    use()
            del f, y, use
            gc.collect()  # gives back nothing that is the parent's
            status = 0 if driver.counts["cuMemFreeAsync"] == 0 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (y.numpy() == X * 2).all()


def test_programs_take_turns_with_temporary_memory(driver: StubDriver) -> None:
    """What many programs need during a call is had from the pool, and is there once."""
    functions = [gx.compile(lambda x, n=n: gx.sum(gx.exp(x @ x) @ x) + n, backend="triton") for n in range(4)]
    x = np.ones((64, 64), np.float32)
    sizes = []
    for f in functions:
        f(x)
        gc.collect()
        sizes.append(sum(m.nbytes for m in driver.memory.values()))
    assert sizes[-1] < sizes[0] + x.nbytes


def test_memory_that_runs_out_is_looked_for(driver: StubDriver) -> None:
    f = gx.compile(lambda x: x * 2, backend="triton")
    y = f(X)
    cycle: list[Any] = [f(X)]
    cycle.append(cycle)
    gc.collect()
    driver.limit = driver.used + X.nbytes + 64  # not enough for input and output
    gc.disable()
    try:
        with pytest.raises(MemoryError, match=r"cuda:0 has no \d+ bytes left"):
            f(X)
        del cycle
        assert (f(X).numpy() == X * 2).all()  # what only a cycle of garbage held has been found
    finally:
        gc.enable()
    driver.limit = 0
    assert (y.numpy() == X * 2).all()


@pytest.mark.parametrize("name", ["cuStreamCreate", "cuMemcpyHtoDAsync", "cuModuleLoadData", "cuLaunchKernel"])
def test_what_the_driver_refuses_is_told(driver: StubDriver, name: str) -> None:
    driver.failing[name] = driver.real.CUresult.CUDA_ERROR_ILLEGAL_ADDRESS
    with pytest.raises(CompileError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
        gx.compile(lambda x: x + 1, backend="triton")(X)


def test_there_may_be_no_gpu(driver: StubDriver) -> None:
    driver.failing["cuInit"] = driver.real.CUresult.CUDA_ERROR_NO_DEVICE
    for use in (lambda: gx.compile(lambda x: x, backend="triton")(X), lambda: gx.ones(3).to_device("cuda:0")):
        with pytest.raises(UnsupportedError, match="none to be had"):
            use()
    assert gx.__array_namespace_info__().devices() == ["cpu"]


def test_every_function_that_is_asked_for_exists(driver: StubDriver) -> None:
    asked = [name.removeprefix("do_") for name in dir(StubDriver) if name.startswith("do_")]
    assert len(asked) > 20 and all(callable(getattr(driver.real, name)) for name in asked)
    source = sys.modules["graphc.backends.triton.cuda"].__file__
    assert source is not None
    with open(source) as file:
        text = file.read()
    assert not [name for name in asked if name not in text]


def test_a_table_of_parameters_holds_together() -> None:
    table = cuda.parameter_table([11, 12])
    assert table[4:].tolist() == [11, 12, 0, 0]
    assert table[:4].tolist() == [table.ctypes.data + 8 * n for n in range(4, 8)]
