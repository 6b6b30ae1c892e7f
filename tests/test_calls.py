"""What a call promises, on compiled code: Variables, outputs, threads, processes, interrupts, bad indices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import nn, optim
from graphc.backends.llvm.run import team
from graphc.backends.llvm.run.instance import Instance, address
from graphc.hook import call_lock

X = np.arange(4, dtype=np.float32)


@pytest.fixture(autouse=True, params=["llvm", "reference"])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    with gx.using(backend=request.param):
        yield request.param


native = pytest.mark.parametrize("backend", ["llvm"], indirect=True)  # what only machine code can get wrong


# Variables


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


# Outputs


@pytest.mark.parametrize("size", [3, 1 << 16, 1 << 20])
def test_outputs_are_the_callers(size):
    f = gx.compile(lambda x, n: (x + n, x * n))
    x = np.ones(size, np.float32)
    kept = [f(x, np.float32(n)) for n in range(6)]
    views = [f(x, np.float32(n))[0].numpy()[size // 2 :][::2] for n in range(6)]
    for n, (a, b) in enumerate(kept):
        assert (a.numpy() == 1 + n).all() and (b.numpy() == n).all()
        assert (views[n] == 1 + n).all()


@native
def test_memory_comes_back_when_the_last_view_dies():
    f = gx.compile(lambda x: x + 1)
    x = np.zeros(1 << 18, np.float32)
    first = f(x).numpy()
    place = address(first)
    view = first[100:200]
    del first
    second = f(x).numpy()
    assert address(second) != place, "a view still shows it"
    assert (view == 1).all()
    del view
    assert address(f(x).numpy()) == place


def test_an_output_that_is_an_input_is_a_copy():
    v = gx.Variable(np.zeros(4, np.float32))
    f = gx.compile(lambda x: (x, v.value, x))
    x = X.copy()
    a, value, b = f(x)
    x[:] = 9
    v.assign(X + 1)
    assert a.tolist() == b.tolist() == X.tolist() and value.tolist() == [0, 0, 0, 0]


# Threads


def test_calls_from_several_threads():
    total = gx.Variable(np.zeros(5000, np.int64))

    @gx.compile
    def add(x: Any) -> Any:
        total.assign(total + x)
        return total.value, gx.sum(x)

    add(np.zeros(5000, np.int64))
    wrong: list[Any] = []

    def work(number: int) -> None:
        x = np.full(5000, number, np.int64)
        for _ in range(20):
            now, own = add(x)
            if own.item() != 5000 * number or len(set(now.numpy().tolist())) != 1:
                wrong.append(number)

    def in_context(number: int) -> Callable[[], None]:
        context = contextvars_copy()
        return lambda: context.run(work, number)

    threads = [threading.Thread(target=in_context(n)) for n in range(1, 7)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and total.numpy()[0] == 20 * sum(range(1, 7)) == total.numpy()[-1]


def test_a_trace_may_wait_for_another_thread():
    found: list[Any] = []

    @gx.compile
    def f(x: Any) -> Any:
        other = threading.Thread(target=lambda: found.append((gx.asarray([1.0]) + 1).item()))
        other.start()
        other.join(20)
        return x * len(found)

    assert f(X).tolist() == X.tolist() and found == [2]


def contextvars_copy() -> Any:
    import contextvars

    return contextvars.copy_context()


def layer_norm_gradient(x: Any, scale: Any) -> Any:
    def loss(x: Any, scale: Any) -> Any:
        y = nn.layer_norm(x, (x.shape[-1],), scale)
        return gx.sum(y * y * x)

    return gx.grad(loss, argnums=(0, 1))(x, scale)


KERNELS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "column sum": (lambda x: gx.sum(x, axis=0), [(5000, 96)]),
    "full sum": (lambda x: gx.sum(x), [(1000, 997)]),
    "row sum": (lambda x: gx.sum(x, axis=1), [(7, 300_000)]),
    "softmax": (lambda x: nn.softmax(x), [(700, 1000)]),
    "column softmax": (lambda x: nn.softmax(x, 0), [(3000, 130)]),
    "matmul": (lambda a, b: gx.tanh(a @ b), [(300, 700), (700, 500)]),
    "deep matmul": (lambda a, b: a @ b, [(8, 100_000), (100_000, 8)]),
    "layer norm gradient": (layer_norm_gradient, [(2000, 256), (256,)]),
    "mean and variance": (lambda x: (gx.mean(x), gx.var(x, axis=0)), [(3000, 64)]),
}


@native
@pytest.mark.parametrize("name", KERNELS)
def test_results_do_not_depend_on_threads(name, monkeypatch):
    function, shapes = KERNELS[name]
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype("f4") for s in shapes]
    monkeypatch.setattr(team, "usable_threads", lambda: 4)
    found = {}
    for threads in (1, 2, 3, 4, 2):
        with gx.using(threads=threads):
            results = gx.compile(function)(*arrays)
        leaves = results if isinstance(results, tuple) else (results,)
        found[threads] = [r.numpy().tobytes() for r in leaves]
        assert found[threads] == found[1], f"{threads} threads"


# Processes and signals


def run_python(code: str) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120, cwd=Path(__file__).parents[1])


@native
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_calls_and_so_does_the_parent():
    run_python("""
import os, numpy as np, graphc as gx
v = gx.Variable(np.zeros(1 << 20, np.float32))
@gx.compile
def f(x):
    v.assign(v + x)
    return gx.sum(v)
one = np.float32(1)
assert f(one).item() == 1 << 20
children = []
for n in range(3):
    child = os.fork()
    if child == 0:
        g = gx.compile(lambda x: gx.sum(x * 3))           # compiles, and starts a team, in the child
        right = f(one).item() == 2 << 20 and g(np.ones(1 << 20, np.float32)).item() == 3 << 20
        right = right and f(one).item() == 3 << 20
        os._exit(0 if right else 1)
    children.append(child)
assert f(one).item() == 2 << 20
assert all(os.waitpid(c, 0)[1] == 0 for c in children)
assert f(one).item() == 3 << 20
""")


@native
def test_ctrl_c_between_calls():
    """Also right after a call: nobody else may find the lock taken, nor an old value of what it has changed."""
    v = gx.Variable(np.zeros(1 << 12, np.float32))

    @gx.compile
    def step() -> None:
        v.assign(v + 1)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    step()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(150):
            with pytest.raises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 0.001)
                while True:
                    step()
                    v.value  # noqa: B018
            assert not call_lock._is_owned()  # type: ignore[attr-defined]
            assert (v.numpy() == v.storage.array).all()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    now = v.numpy()[0]
    step()
    assert v.numpy()[0] == now + 1


@native
def test_ctrl_c_while_a_call_runs():
    """The call ends; then the interrupt comes, and what the call has changed is seen."""
    v = gx.Variable(np.zeros(1 << 22, np.float32))

    @gx.compile
    def step() -> None:
        w = v.value
        for _ in range(24):
            w = gx.sin(w + 1)
        v.assign(v + w)

    step()
    old = v.numpy()[0]
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.003)
            step()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert v.numpy()[0] == v.storage.array[0] != old


def long_step() -> tuple[list[gx.Variable], Any]:
    """About half a second of products, then updates in place."""
    w = [gx.Variable(np.random.default_rng(i).standard_normal((1024, 1024)).astype(np.float32) / 32) for i in range(4)]

    @gx.compile
    def step(x: Any) -> Any:
        for _ in range(6):
            for each in w:
                x = gx.tanh(x @ each)
        for each in w:
            each.assign(each * 0.5 + x)
        return gx.sum(x)

    return w, step


def interrupted_after(seconds: float, call: Callable[[], Any]) -> float:
    """Call it, press Ctrl-C after so many seconds, and give the seconds until the call was left."""
    times = []

    def press() -> None:
        times.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(seconds, press)
    timer.start()
    try:
        call()
    finally:
        timer.join()
        times.append(time.perf_counter())
    return times[1] - times[0]


@native
@pytest.mark.parametrize("threads", [1, 0])
def test_ctrl_c_ends_a_long_call_with_all_variables_as_before(threads):
    with gx.using(threads=threads):
        w, step = long_step()
        x = np.eye(1024, dtype=np.float32)
        start = time.perf_counter()
        step(x)
        whole = time.perf_counter() - start
        old = [v.numpy().copy() for v in w]
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            for part in (0.2, 0.5):
                with pytest.raises(KeyboardInterrupt):
                    interrupted_after(part * whole, lambda: step(x))
                now = [v.numpy() for v in w]
                assert all((a == b).all() for a, b in zip(now, old, strict=True)) or part > 0.2, "cut off, or late"
                same = [(a == b).all() for a, b in zip(now, old, strict=True)]
                assert all(same) or not any(same), "all of them, or none"
                old = [v.copy() for v in now]
        finally:
            signal.signal(signal.SIGINT, before)
        step(x)
        assert not any((v.numpy() == o).all() for v, o in zip(w, old, strict=True))


@native
def test_ctrl_c_ends_a_loop_of_small_steps():
    count = gx.compile(lambda n: gx.while_loop(lambda i: i < n, lambda i: i + 1, 0))
    count(np.int64(3))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted_after(0.1, lambda: count(np.int64(10**12)))
    finally:
        signal.signal(signal.SIGINT, before)
    assert count(np.int64(7)).item() == 7


@native
def test_a_handler_of_ctrl_c_that_wants_to_go_on():
    """It sets a flag, say; then the call begins once more, and its result is that of one call."""
    w, step = long_step()
    copies = [v.numpy().copy() for v in w]
    x = np.eye(1024, dtype=np.float32)
    wanted = step(x).item()
    for v, c in zip(w, copies, strict=True):
        v.assign(c)
    flags: list[int] = []
    before = signal.signal(signal.SIGINT, lambda *_: flags.append(1))
    results: list[float] = []
    try:
        interrupted_after(0.1, lambda: results.append(step(x).item()))
    finally:
        signal.signal(signal.SIGINT, before)
    assert flags == [1] and results == [wanted]


# Bad indices and divisions


def test_an_index_out_of_range():
    f = gx.compile(lambda x, i: gx.take(x, i) * 2)
    assert f(X, np.array([0, 3, -1, -4])).tolist() == [0, 6, 6, 0]
    for bad in (4, -5, 1 << 40, -(1 << 62)):
        with pytest.raises(IndexError) as error:
            f(X, np.array([1, bad, 2]))
        assert isinstance(error.value, gx.GraphcIndexError)
        assert "gx.take(x, i) * 2" in str(error.value), "the user's line"
    assert f(X, np.array([2])).tolist() == [4]


def test_a_bad_index_far_from_the_end_of_a_large_array():
    table = np.zeros((1000, 64), np.float32)
    f = gx.compile(lambda x, i: gx.sum(gx.take(x, i, axis=0)))
    index = np.zeros(5000, np.int32)
    index[1234] = 1000
    with pytest.raises(IndexError, match="1000"):
        f(table, index)


@pytest.mark.parametrize(("columns", "dtype"), [(5, "float32"), (5, "int32"), (9, "int16"), (17, "int8")])
def test_gathered_columns_stored_twice(columns, dtype):
    """Tiles with missing rows, of which LLVM once made a shuffle that it could not select."""
    x = np.arange(64 * 40).reshape(64, 40).astype(dtype)

    @gx.compile
    def f(x: Any, i: Any) -> Any:
        y = gx.take(x, gx.pad(i, ((1, 1),)), axis=1)
        return y, y * 3 + y

    a, b = f(x, np.arange(columns - 2))
    wanted = x[:, np.pad(np.arange(columns - 2), 1)]
    assert (a.numpy() == wanted).all() and (b.numpy() == wanted * 3 + wanted).all()


def test_a_bad_index_in_prepared_work():
    table, index = gx.Variable(np.arange(400.0)), gx.Variable(np.array([1, 3]))
    f = gx.compile(lambda x: x + gx.sum(gx.take(table, index)))
    assert f(X)[0].item() == 4
    index.assign(np.array([1, -401]))
    for _ in range(2):
        with pytest.raises(IndexError, match=r"gx\.take\(table, index\)"):
            f(X)
    index.assign(np.array([1, 2]))
    assert f(X)[0].item() == 3


@pytest.mark.parametrize("size", [4, 1 << 18])
def test_a_bad_index_changes_no_variable(size):
    """Neither where the gather comes first, nor where nothing orders it and the update, nor where it comes last."""
    a, b, c = (gx.Variable(np.zeros(size, np.float32)) for _ in range(3))

    @gx.compile
    def step(x: Any, i: Any) -> Any:
        a.assign(a + 1)
        found = gx.take(x, i)
        b.assign(b + gx.sum(found))
        c.assign(a * 2)
        return found, gx.take(c.value, i)

    good, bad = np.array([1, 2]), np.array([1, size])
    x = np.ones(size, np.float32)
    step(x, good)
    for _ in range(3):
        with pytest.raises(IndexError):
            step(x, bad)
        assert [v.numpy()[0] for v in (a, b, c)] == [1, 2, 2]
    step(x, good)
    assert [v.numpy()[-1] for v in (a, b, c)] == [2, 4, 4]


def test_a_bad_index_in_a_scatter_changes_nothing():
    table = gx.Variable(np.zeros((50, 8), np.float32))
    optimizer = optim.SGD([table], lr=1.0)

    @gx.compile
    def step(i: Any) -> Any:
        loss = gx.sum(gx.take(table, i, axis=0))
        optimizer.minimize(loss)
        return loss

    step(np.array([3, 3, 7]))
    expected = table.numpy().copy()
    assert expected[3, 0] == -2 and expected[7, 0] == -1
    with pytest.raises(IndexError):
        step(np.array([3, 50, 7]))
    np.testing.assert_array_equal(table.numpy(), expected)


def test_integer_division_by_zero():
    a = np.array([7, -7, 0, -(1 << 31), 5], np.int32)
    b = np.array([0, 0, 0, -1, 2], np.int32)
    quotient, remainder = gx.compile(lambda a, b: (a // b, a % b))(a, b)
    assert quotient.tolist() == [0, 0, 0, -(1 << 31), 2]
    assert remainder.tolist() == [0, 0, 0, 0, 1]
    assert gx.compile(lambda a: a // 0)(a).tolist() == [0] * 5
    for dtype in (np.uint8, np.int64, np.int8):
        zero = np.zeros(40, dtype)
        assert gx.compile(lambda a, b: a // b)(zero + 3, zero).tolist() == [0] * 40


def test_a_deep_chain():
    """Hundreds of functions in a row, in one kernel: nothing on the way recurses along them."""

    @gx.compile
    def f(x: Any) -> Any:
        for _ in range(350):
            x = -x + 1
        return gx.sum(x * x)

    assert f(X).item() == 14 and gx.grad(f)(X).tolist() == [0, 2, 4, 6]
