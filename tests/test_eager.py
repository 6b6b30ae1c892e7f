"""Concrete operations: evaluated at once, and what they give is what compiled functions give."""

import threading
from typing import NamedTuple

import numpy as np
import pytest

import graphc as gx
from graphc.driver.executable import Compilation
from graphc.frontend import recorded
from graphc.frontend.emit import as_tensor, operation
from graphc.frontend.pieces import PIECE, in_pieces
from graphc.ops.random import philox_block, philox_blocks
from graphc.random import Generator

# Randomness: the same bits, though one is computed element by element and the other block by block, in pieces

SIZES = [(0,), (), (5,), (33, 7), (PIECE + 3,)]
DRAWS = {
    "bits": lambda s, g: gx.random.bits(s, generator=g),
    "uniform": lambda s, g: gx.random.uniform(s, low=-0.3, high=0.7, generator=g),
    "uniform of arrays": lambda s, g: gx.random.uniform(s, low=np.float32(-1), high=np.float32(3), generator=g),
    "uniform float16": lambda s, g: gx.random.uniform(s, low=-0.3, high=0.7, dtype="float16", generator=g),
    "uniform float64": lambda s, g: gx.random.uniform(s, dtype="float64", generator=g),
    "randint": lambda s, g: gx.random.randint(-3, 1000, s, generator=g),
    "bernoulli": lambda s, g: gx.random.bernoulli(0.3, s, generator=g),
}


@pytest.mark.parametrize("name", DRAWS)
def test_random_bits_are_those_of_compiled_functions(name: str) -> None:
    def draws(generator: Generator) -> list[gx.Tensor]:
        return [DRAWS[name](sizes, generator) for sizes in SIZES]

    one, other = Generator(7), Generator(7)
    compiled = gx.compile(lambda: draws(other))()
    for got, expected in zip(draws(one), compiled, strict=True):
        assert got.type == expected.type and got.tolist() == expected.tolist()
    assert one.state.tolist() == other.state.tolist()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_normal_numbers_are_those_of_compiled_functions(dtype: str) -> None:
    """But for what the last places of log and cos may differ."""
    one, other = Generator(7), Generator(7)
    compiled = gx.compile(lambda: gx.random.normal((PIECE + 3,), mean=1, std=2, dtype=dtype, generator=other))()
    tolerance = 4 * gx.finfo(dtype).eps
    got = gx.random.normal((PIECE + 3,), mean=1, std=2, dtype=dtype, generator=one)
    np.testing.assert_allclose(got.numpy(), compiled.numpy(), rtol=tolerance, atol=8 * tolerance)


@pytest.mark.parametrize("start, count", [(0, 3), (5, 100), (2**32 - 10, 10)])
def test_blocks_of_philox(start: int, count: int) -> None:
    key = (0xFFFFFFF7, 5)
    assert philox_blocks(key, start, count).tolist() == [list(philox_block(key, start + i)) for i in range(count)]


def test_long_vectors_are_made_piece_by_piece() -> None:
    longest = 0

    def make(start: int, stop: int) -> np.ndarray:
        nonlocal longest
        longest = max(longest, stop - start)
        return np.arange(start, stop)

    for size in (0, 3, PIECE, PIECE + 1, 3 * PIECE, (1 << 20) + 5):
        assert (in_pieces(size, make) == np.arange(size)).all()
    assert longest == PIECE


def test_no_two_uses_have_the_same_numbers() -> None:
    generator = Generator(3)
    found: list[list[int]] = []

    def draw() -> None:
        for _ in range(200):
            found.append(gx.random.bits((2,), generator=generator).tolist())

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len({tuple(f) for f in found}) == 800 and generator.state.tolist() == [3, 0, 800]


def test_a_use_in_the_middle_of_another_has_numbers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a signal's handler has it that comes between reading the state and writing it."""
    from graphc.storage import Storage

    generator = Generator(3)
    inner: list[list[int]] = []
    write = Storage.write

    def interrupted(storage: Storage, value: np.ndarray) -> None:
        if not inner:
            inner.append([])
            inner[0] = gx.random.bits((4,), generator=generator).tolist()
        write(storage, value)

    monkeypatch.setattr(Storage, "write", interrupted)
    outer = gx.random.bits((4,), generator=generator).tolist()
    assert outer != inner[0] != []
    assert gx.random.bits((4,), generator=generator).tolist() not in (outer, inner[0])


# Array functions: what they give at once is what they give compiled

F = np.linspace(-2, 3, 12, dtype=np.float32).reshape(3, 4)
N = np.arange(12).reshape(3, 4)
ROW = np.array([1, -2, 3, 4], np.float32)
PLACES = np.array([2, -1, 0])

FUNCTIONS = {
    "add": lambda: gx.add(F, ROW),
    "reflected": lambda: 2 - gx.asarray(F),
    "numbers": lambda: gx.asarray(N) * 2 + 1,
    "promotion": lambda: gx.asarray(N) * gx.asarray(ROW),
    "float16": lambda: gx.asarray(F.astype(np.float16)) * gx.asarray(ROW.astype(np.float16)) + 0.1,
    "bfloat16": lambda: gx.astype(F, gx.bfloat16) * 3.3,
    "integers by 0": lambda: gx.stack([gx.floor_divide(N, 0), gx.remainder(N, N - 5)]),
    "divide": lambda: gx.divide(N, gx.asarray(N) - 4),
    "shifts": lambda: gx.bitwise_left_shift(N, N * 8),
    "invalid": lambda: gx.log(F) + gx.sqrt(F),
    "overflow": lambda: gx.exp(gx.asarray(F) * 1e4),
    "cast": lambda: gx.astype(F * np.float32(1e10), gx.int8),
    "rank 0": lambda: gx.sin(gx.asarray(np.float32(0.3))),
    "number": lambda: gx.cos(1.5),
    "sum": lambda: gx.sum(F, axis=0, keepdims=True),
    "mean": lambda: gx.mean(N, axis=(0, 1)),
    "std": lambda: gx.std(F, axis=-1),
    "argmax": lambda: gx.argmax(F, axis=1),
    "matmul": lambda: gx.matmul(F, F.T.copy()),
    "batched": lambda: gx.matmul(np.ones((2, 3, 4), np.float32), F.T),
    "einsum": lambda: gx.einsum("ij,kj->ik", F, F),
    "transposed": lambda: gx.asarray(F).T @ gx.asarray(F),
    "where": lambda: gx.where(gx.asarray(F) > 0, F, 0),
    "clip": lambda: gx.clip(F, -1, ROW),
    "take": lambda: gx.take(F, PLACES, axis=1),
    "take_along_axis": lambda: gx.take_along_axis(F, N % 3, axis=0),
    "index": lambda: gx.asarray(F)[1:, ::-2],
    "index by arrays": lambda: gx.asarray(F)[PLACES, None, PLACES],
    "concat": lambda: gx.concat([F, N], axis=1),
    "stack": lambda: gx.stack([F, F], axis=1),
    "pad": lambda: gx.pad(F, (1, 2), constant=7),
    "roll": lambda: gx.roll(F, 3),
    "repeat": lambda: gx.repeat(F, 3, axis=0),
    "tile": lambda: gx.tile(F, (2, 1, 2)),
    "flip": lambda: gx.flip(F),
    "tril": lambda: gx.tril(F, k=-1),
    "meshgrid": lambda: gx.concat(gx.meshgrid(ROW, PLACES)),
    "broadcast_to": lambda: gx.broadcast_to(ROW, (2, 3, 4)),
    "arange": lambda: gx.arange(3, 20, 4),
    "linspace": lambda: gx.linspace(0, 1, 7),
    "softmax": lambda: gx.nn.softmax(F),
    "layer_norm": lambda: gx.nn.layer_norm(F, 4, ROW, ROW),
    "gelu": lambda: gx.nn.gelu(F),
    "cross_entropy": lambda: gx.nn.cross_entropy(F, np.array([1, 0, 3])),
}


@pytest.fixture(scope="module")
def compiled() -> dict[str, gx.Tensor]:
    found: dict[str, gx.Tensor] = gx.compile(lambda: {name: make() for name, make in FUNCTIONS.items()})()
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_give_what_they_give_compiled(name: str, compiled: dict[str, gx.Tensor]) -> None:
    with np.errstate(all="raise"):  # which is no business of graphc's operations
        got = FUNCTIONS[name]()
    expected = compiled[name]
    assert got.type == expected.type
    tolerance = 4 * float(gx.finfo(got.dtype).eps) if got.dtype.is_float else 0.0
    np.testing.assert_allclose(
        got.numpy().astype(np.float64), expected.numpy().astype(np.float64), rtol=tolerance, atol=tolerance
    )


def test_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, *args: object) -> None:
        raise AssertionError("a concrete operation was compiled")

    monkeypatch.setattr(Compilation, "__init__", refuse)
    for function in FUNCTIONS.values():
        function()
    for row in gx.asarray(F):
        assert [x.item() for x in row] == row.tolist()
    model = gx.nn.Sequential(gx.nn.Linear(4, 3), gx.nn.relu, gx.nn.Dropout(0.5))
    for backend in ("llvm", "triton", "reference"):
        with gx.using(backend=backend):
            assert model(F).shape == (3, 3)


def test_a_tensor_of_a_trace_that_has_ended_is_refused() -> None:
    kept: list[gx.Tensor] = []

    def keep(x: gx.Tensor) -> gx.Tensor:
        kept.append(x)
        return x

    gx.trace(keep, N)
    for use in (lambda t: t + 1, lambda t: gx.exp(t), lambda t: t[0], lambda t: gx.asarray(ROW)[t], gx.sum):
        with pytest.raises(gx.TraceError, match="only inside the function whose trace"):
            use(kept[0])


ERRORS = {
    "shapes": (lambda: gx.add(F, np.ones(5, np.float32)), gx.ShapeError),
    "operator": (lambda: gx.asarray(F) + np.ones(5, np.float32), gx.ShapeError),
    "dtypes": (lambda: gx.bitwise_and(F, F), gx.DTypeError),
    "logic of integers": (lambda: gx.logical_and(N, N), gx.DTypeError),
    "numbers": (lambda: gx.asarray(N.astype(np.int8)) + 1000, gx.DTypeError),
    "matmul": (lambda: gx.asarray(F) @ F, gx.ShapeError),
    "reshape": (lambda: gx.reshape(F, (5,)), gx.ShapeError),
    "axis": (lambda: gx.sum(F, axis=2), gx.ShapeError),
    "nothing to reduce": (lambda: gx.max(np.zeros((0, 3), np.float32), axis=0), gx.ShapeError),
    "int index": (lambda: gx.asarray(F)[3], IndexError),
    "second index": (lambda: gx.asarray(F)[0, -5], IndexError),
    "too many indices": (lambda: gx.asarray(F)[0, 0, 0], gx.ShapeError),
    "array index": (lambda: gx.asarray(F)[np.array([0, 7])], IndexError),
    "unsigned index": (lambda: gx.asarray(F)[np.array([2**64 - 1], np.uint64)], IndexError),
    "take": (lambda: gx.take(F, np.array([0, 4]), axis=1), IndexError),
    "class numbers": (lambda: gx.nn.cross_entropy(F, np.array([0, 1, -1])), IndexError),
    "index of floats": (lambda: gx.asarray(F)[np.array([0.0])], gx.DTypeError),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_graphcs_and_name_the_line(name: str) -> None:
    function, kind = ERRORS[name]
    with pytest.raises(gx.GraphcError) as raised:
        function()
    assert isinstance(raised.value, kind)
    assert f"test_eager.py, line {function.__code__.co_firstlineno}:" in str(raised.value).replace('"', "")


# No result is over memory that someone may write to


class Holder:
    """An object that gives out the array that it goes on writing to."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return self.array


VIEWS = {
    "asarray": gx.asarray,
    "same shape": lambda x: gx.reshape(x, (3, 4)),
    "reshape": lambda x: gx.reshape(x, -1),
    "transpose": lambda x: gx.permute_dims(x, (1, 0)),
    "expand_dims": lambda x: gx.expand_dims(x, 1),
    "squeeze": lambda x: gx.squeeze(gx.expand_dims(x, 0)),
    "broadcast_to": lambda x: gx.broadcast_to(x, (2, 3, 4)),
    "broadcast_arrays": lambda x: gx.broadcast_arrays(x, np.zeros(4, np.float32))[0],
    "flip": lambda x: gx.flip(x, axis=0),
    "unstack": lambda x: gx.unstack(x)[0],
    "split": lambda x: gx.split(x, 3)[1],
    "concat of one": lambda x: gx.concat([x]),
    "astype": lambda x: gx.astype(x, gx.float32),
    "round": lambda x: gx.round(x),
    "positive": lambda x: gx.positive(x),
    "stop_gradient": lambda x: gx.stop_gradient(x),
    "dropout": lambda x: gx.nn.dropout(x, training=False),
    "moveaxis": lambda x: gx.moveaxis(x, 0, 1),
    "meshgrid": lambda x: gx.meshgrid(gx.reshape(x, -1))[0],
    "repeat": lambda x: gx.repeat(x, 1),
    "tile": lambda x: gx.tile(x, 1),
    "roll": lambda x: gx.roll(x, 0),
    "pad": lambda x: gx.pad(x, 0),
    "diff": lambda x: gx.diff(x, n=0),
    "tril": lambda x: gx.tril(x),
    "diagonal": lambda x: gx.linalg.diagonal(x),
    "einsum": lambda x: gx.einsum("ij->ji", x),
    "clip": lambda x: gx.clip(x),
    "flatten": lambda x: gx.nn.Flatten()(x),
    "sum over nothing": lambda x: gx.sum(x, axis=()),
}


@pytest.mark.parametrize("wrap", [lambda a: a, Holder, lambda a: a.view(np.matrix), lambda a: a[:]])
@pytest.mark.parametrize("name", VIEWS)
def test_results_do_not_follow_the_arrays_of_others(name: str, wrap: object) -> None:
    array = F.copy()
    found = VIEWS[name](wrap(array))  # type: ignore[operator]
    assert type(found) is gx.Tensor
    before = found.tolist()
    array[...] = 99
    assert found.tolist() == before and not np.shares_memory(found.numpy(), array)


class Both(NamedTuple):
    """Two results by name."""

    first: gx.Tensor
    rest: list[gx.Tensor]


def test_no_result_among_several_follows_the_arrays_of_others() -> None:
    @operation
    def both(x: object) -> Both:
        return Both(as_tensor(x), [as_tensor(x)])

    array = F.copy()
    found = both(array)
    array[...] = 99
    assert found.first.tolist() == found.rest[0].tolist() == F.tolist() and type(found) is Both


@pytest.mark.parametrize("name", VIEWS)
def test_results_do_not_follow_variables(name: str) -> None:
    variable = gx.Variable(F)
    found = VIEWS[name](variable)
    before = found.tolist()
    variable.assign(np.full((3, 4), 99, np.float32))
    assert found.tolist() == before


def test_views_of_tensors_share_their_memory_until_it_is_looked_at() -> None:
    x = gx.asarray(np.zeros((100, 100), np.float32))
    for view in (x.T, gx.reshape(x, -1), gx.broadcast_to(x, (5, 100, 100)), x[::2], x[10:90]):
        assert np.shares_memory(view._array, x._array)
        assert view.numpy().flags.c_contiguous and not view.numpy().flags.writeable
        assert gx.compile(lambda y: y + 1)(view).tolist() == (view.numpy() + 1).tolist()
    assert not np.shares_memory(x[3]._array, x._array)  # a small part does not keep a large array in memory


# Threads, handlers, growth


def test_threads_compute_at_once() -> None:
    expected = [(gx.nn.softmax(F * np.float32(i))).tolist() for i in range(8)]
    found: dict[int, list[object]] = {}

    def work(number: int) -> None:
        found[number] = [gx.nn.softmax(F * np.float32(i)).tolist() for i in range(8)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(found[n] == expected for n in range(4))


def test_an_operation_in_the_middle_of_another() -> None:
    """As a finalizer or a signal's handler has it, which may run wherever Python does."""
    inner: list[list[float]] = []

    class Interrupting(Holder):
        def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
            inner.append((gx.asarray(ROW) * 2).tolist())
            return self.array

    assert gx.add(Interrupting(F), Interrupting(F)).tolist() == (F + F).tolist()
    assert inner == [(ROW * 2).tolist()] * 2


def test_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for what is remembered of the last calls, which is bounded."""
    import gc
    import tracemalloc

    def work(first: int) -> None:
        for n in range(first, first + 100):
            x = gx.asarray(np.zeros((2, n), np.float32))
            (gx.sum(x * 0.5 + n, axis=1) @ gx.ones(2), x[1, n - 1], gx.random.normal((n,)))

    monkeypatch.setattr(recorded, "MOST", 32)
    work(1)
    tracemalloc.start()
    try:
        work(200)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        work(400)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 20_000


def test_views_of_results_of_compiled_functions_keep_their_memory() -> None:
    double = gx.compile(lambda x: x * 2)
    ones = np.ones((100, 64), np.float32)
    views = []
    for n in range(5):
        result = double(ones * np.float32(n))
        views.append((result[1:], result.T, gx.reshape(result, -1), result[3]))
    del result
    for _ in range(20):  # whose results would take memory that is free again
        double(ones * np.float32(99))
    assert all((view.numpy() == 2 * n).all() for n, group in enumerate(views) for view in group)


@pytest.mark.parametrize("rows, inner, columns", [(3, 700, 500), (500, 700, 3), (1, 300000, 1), (2, 1, 200000)])
def test_products_of_a_few_rows(rows: int, inner: int, columns: int) -> None:
    """Whose large operand is converted piece by piece."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(rows, inner)).astype(np.float32), rng.normal(size=(inner, columns)).astype(np.float32)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    np.testing.assert_allclose(gx.matmul(a, b).numpy(), exact, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(gx.matmul(a, gx.asarray(b.T.copy()).T).numpy(), exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint64", "float16", "bool"])
def test_choosing_between_many(dtype: str) -> None:
    rng = np.random.default_rng(0)
    mask, a = rng.random((70, 80)) < 0.5, rng.normal(size=(70, 80)).astype(dtype)
    b = np.array([np.nan, -0.0, np.inf, 1] * 20, "float64" if dtype == "float64" else "float32")
    with np.errstate(all="ignore"):
        b = b.astype(dtype)
    tall = rng.random((5000, 1)) < 0.5
    for m, x, y in (
        (mask, a, b), (mask, b, a), (mask, a[3, 3], b), (mask, a.T.copy().T, a[:, :1]), (tall, a[0], a[1, 1])
    ):  # fmt: skip
        found = gx.where(m, x, y).numpy()
        assert found.dtype == a.dtype and found.tobytes() == np.where(m, x, y).tobytes()
