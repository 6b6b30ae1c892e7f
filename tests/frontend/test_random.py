"""Randomness: known Philox bits, fresh numbers at each use, equal ones for equal seeds, and plausible statistics."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import DTypeError, GraphcError, ShapeError, TraceError, nn, optim
from graphc.random import Generator


def philox(key: tuple[int, int], counter: int) -> tuple[int, ...]:
    """Philox4x32-10 in Python's integers, from the paper (Salmon and others, 2011)."""
    block, (k0, k1), mask = (counter, 0, 0, 0), key, 0xFFFFFFFF
    for _ in range(10):
        p0, p1 = 0xD2511F53 * block[0], 0xCD9E8D57 * block[2]
        block = ((p1 >> 32) ^ block[1] ^ k0, p1 & mask, (p0 >> 32) ^ block[3] ^ k1, p0 & mask)
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return block


def test_known_answer_of_the_paper() -> None:
    assert philox((0, 0), 0) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)


def test_bits_are_blocks_under_the_key_of_the_use() -> None:
    generator = Generator((7 << 32) | 5)
    for use in range(2):
        low, high, *_ = philox((5, 7), use)
        expected = [word for block in range(3) for word in philox((low, high), block)][:10]
        assert gx.random.bits((10,), generator=generator).tolist() == expected


def test_seeds() -> None:
    gx.random.seed(3)
    first, second = gx.random.normal((4,)), gx.random.normal((4,))
    gx.random.seed(3)
    assert first.tolist() == gx.random.normal((4,)).tolist() != second.tolist()
    assert (
        gx.random.bits((4,), generator=Generator(3)).tolist()
        != gx.random.bits((4,), generator=Generator(4)).tolist()
    )
    for bad in (-1, 1.5, True, 1 << 64):
        with pytest.raises(DTypeError):
            Generator(bad)  # type: ignore[arg-type]


def test_seeds_from_numpy_and_the_line_of_bad_ones() -> None:
    expected = gx.random.bits((4,), generator=Generator(3)).tolist()
    assert gx.random.bits((4,), generator=Generator(np.int64(3))).tolist() == expected  # type: ignore[arg-type]
    generator = Generator()
    for bad in (gx.random.seed, generator.seed, Generator):
        with pytest.raises(DTypeError, match="test_random"):
            bad(-1)


def test_each_call_of_a_compiled_function_draws_anew() -> None:
    f = gx.compile(lambda x: x + gx.random.uniform((2,)) + gx.random.uniform((2,)))
    gx.random.seed(0)
    first, second = f(np.float32(0)), f(np.float32(0))
    gx.random.seed(0)
    expected = gx.random.uniform((2,)) + gx.random.uniform((2,))
    assert first.tolist() == expected.tolist() != second.tolist()
    with pytest.raises(TraceError, match="outside of traced"):
        gx.trace(lambda x: gx.random.seed(1) or x, np.ones(1))


def is_close(measured: float, expected: float, deviation: float, count: int) -> bool:
    """Within five standard errors."""
    return abs(measured - expected) < 5 * deviation / math.sqrt(count)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_uniform(dtype: str) -> None:
    x = gx.random.uniform((20000,), low=-1, high=3, dtype=dtype, generator=Generator(1))
    values = x.numpy().astype(np.float64)
    assert x.dtype.name == dtype and values.min() >= -1 and values.max() <= 3
    assert is_close(values.mean(), 1, 4 / math.sqrt(12), 20000)
    assert abs(np.histogram(values, 4)[0] / 5000 - 1).max() < 0.1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_normal(dtype: str) -> None:
    x = gx.random.normal((100, 200), mean=2, std=3, dtype=dtype, generator=Generator(1)).numpy().astype(np.float64)
    assert is_close(x.mean(), 2, 3, 20000) and abs(x.std() - 3) < 0.1
    z = (x - 2) / 3
    assert is_close((z**3).mean(), 0, math.sqrt(15), 20000) and is_close(
        (z**4).mean(), 3, math.sqrt(96), 20000
    )
    assert abs(np.corrcoef(z.ravel()[:-1], z.ravel()[1:])[0, 1]) < 0.04


def test_randint_and_bernoulli() -> None:
    n = gx.random.randint(-2, 3, (10000,), generator=Generator(1))
    assert n.dtype is gx.int64 and abs(np.bincount(n.numpy() + 2) / 2000 - 1).max() < 0.15
    assert gx.random.randint(0, 200, (5,), dtype="uint8").dtype is gx.uint8
    b = gx.random.bernoulli(0.3, (10000,), generator=Generator(1))
    assert b.dtype is gx.bool and is_close(b.numpy().mean(), 0.3, 0.46, 10000)
    with pytest.raises(DTypeError):
        gx.random.randint(3, 3, (1,))


def test_randint_fits_its_dtype() -> None:
    for low, high, dtype in ((0, 1000, "int8"), (-129, 0, "int8"), (-1, 3, "uint8"), (0, 2**31 + 1, "int32")):
        with pytest.raises(DTypeError, match="have to fit"):
            gx.random.randint(low, high, (5,), dtype=dtype)
    all_of_them = gx.random.randint(-128, 128, (4000,), dtype="int8").numpy()
    assert all_of_them.min() == -128 and all_of_them.max() == 127 and -10 < all_of_them.mean() < 10
    assert gx.random.randint(0, 256, (4000,), dtype="uint8").numpy().max() == 255


@pytest.mark.parametrize("p", [1.5, -0.1, 2, math.nan])
def test_probabilities_are_between_0_and_1(p: float) -> None:
    with pytest.raises(GraphcError, match="between 0 and 1") as raised:
        gx.random.bernoulli(p, (5,))
    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize("shape", [(2, 3), (3,), (1, 1), (1,), (), (2, 1)])
def test_parameters_broadcast_to_the_shape(shape: tuple[int, ...]) -> None:
    first = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    two = np.full(shape, 2, np.float32)
    cases: list[tuple[Callable[..., gx.Tensor], dict[str, np.ndarray]]] = [
        (gx.random.normal, {"mean": first, "std": two}),
        (gx.random.uniform, {"low": first, "high": first + 2}),
    ]
    for draw, given in cases:
        expected = first + 2 * draw((2, 3), generator=Generator(5)).numpy()
        got = draw((2, 3), **given, generator=Generator(5))
        assert got.shape == (2, 3) and got.dtype is gx.float32
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert gx.random.bernoulli(np.ones(shape, np.float32), (2, 3)).tolist() == [[True] * 3] * 2


@pytest.mark.parametrize("larger", [(2, 3), (2, 1), (1, 3), (4,)])
def test_parameters_do_not_enlarge_the_shape(larger: tuple[int, ...]) -> None:
    p = np.full(larger, 0.5, np.float32)
    cases: list[tuple[Callable[..., gx.Tensor], str]] = [(gx.random.normal, "std"), (gx.random.uniform, "low")]
    for draw, name in cases:
        with pytest.raises(ShapeError):
            draw((3,), **{name: p})
    with pytest.raises(ShapeError):
        gx.random.bernoulli(p, (3,))


@pytest.mark.parametrize("draw", [gx.random.uniform, gx.random.normal, gx.random.bits])
def test_shapes(draw: Callable[..., gx.Tensor]) -> None:
    assert draw(()).shape == () and draw(3).shape == (3,) and draw((2, 0)).shape == (2, 0)


IN_OTHER_ORDERS: list[tuple[Callable[..., gx.Tensor], tuple[Any, ...], str]] = [
    (gx.random.normal, (3, 4), r"a shape is one tuple: normal\(\(2, 3\)\); mean=, std="),  # PyTorch's, or NumPy's
    (gx.random.normal, (0.0, 1.0, (3,)), "mean=, std=, .* given by name"),
    (gx.random.uniform, (3, 4), "low=, high=, .* given by name"),
    (gx.random.uniform, (-1, 1, (3, 4)), "low=, high=, .* given by name"),
    (gx.random.bits, (3, 4), r"a shape is one tuple: bits\(\(2, 3\)\)"),
    (gx.random.bernoulli, (0.5, 3, 4), r"a shape is one tuple: bernoulli\(p, \(2, 3\)\)"),
    (gx.random.bernoulli, ((3, 4), 0.5), "a shape is made of whole numbers"),
    (gx.random.randint, (0, 9, 3, 4), r"a shape is one tuple: randint\(low, high, \(2, 3\)\)"),
    (gx.random.randint, ((3, 4), 0, 9), "ends are whole numbers"),
    (gx.random.randint, (0, 9.5, (3,)), "ends are whole numbers"),
    (gx.random.randint, (9, (3,)), "randint takes"),
]


@pytest.mark.parametrize(("draw", "args", "told"), IN_OTHER_ORDERS)
def test_arguments_in_the_order_of_others(draw: Callable[..., gx.Tensor], args: tuple[Any, ...], told: str) -> None:
    """None passes for something else: sizes one by one, and distributions' parameters before the shape."""
    with pytest.raises(GraphcError, match=rf"{told}"):
        draw(*args)


def test_whole_ends_of_numpys() -> None:
    got = gx.random.randint(np.int64(0), np.uint8(9), (5,), generator=Generator(2))  # type: ignore[arg-type]
    assert got.tolist() == gx.random.randint(0, 9, (5,), generator=Generator(2)).tolist()


@pytest.mark.parametrize("kept", [lambda s: s, lambda s: s.numpy().astype(np.int64), lambda s: s.tolist(), gx.Variable])
def test_states_go_on_where_they_were(kept: Callable[[gx.Tensor], Any]) -> None:
    f = gx.compile(lambda: gx.random.normal((3,)))
    gx.random.seed(2**63 + 5)
    f(), gx.random.uniform((2,))
    state = kept(gx.random.get_state())
    expected = [f().tolist(), gx.random.bits((2,)).tolist(), f().tolist()]
    gx.random.seed(0)
    gx.random.set_state(state)
    assert [f().tolist(), gx.random.bits((2,)).tolist(), f().tolist()] == expected
    other = Generator(1)
    other.set_state(state)
    assert gx.random.normal((3,), generator=other).tolist() == pytest.approx(expected[0], rel=1e-6)


BAD_STATES: list[tuple[Any, type[Exception]]] = [
    (np.zeros(2, np.uint32), ShapeError), (np.zeros((3, 1), np.uint32), ShapeError), (7, ShapeError),
    (None, ShapeError), ([], ShapeError), ("abc", ShapeError), (np.zeros(3, np.float32), DTypeError),
    ([0.5, 1, 2], DTypeError), ([-1, 0, 0], DTypeError), ([0, 0, 2**32], DTypeError),
    ([True, False, True], DTypeError), (list("abc"), DTypeError),
]  # fmt: skip


@pytest.mark.parametrize(("state", "error"), BAD_STATES)
def test_bad_states(state: Any, error: type[Exception]) -> None:
    generator = Generator(4)
    for set_state in (gx.random.set_state, generator.set_state):
        before = gx.random.get_state().tolist(), generator.get_state().tolist()
        with pytest.raises(error, match=r"what get_state gave(.|\n)*test_random"):
            set_state(state)
        assert (gx.random.get_state().tolist(), generator.get_state().tolist()) == before


def test_states_are_set_outside_of_traces() -> None:
    with pytest.raises(TraceError, match="set_state belongs outside"):
        gx.trace(lambda: gx.random.set_state([0, 0, 0]))


def test_a_resumed_training_is_the_same(tmp_path: Path) -> None:
    """With dropout, and a checkpoint in files."""

    def made() -> tuple[Any, ...]:
        gx.random.seed(1)
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        optimizer = optim.Adam(model, lr=0.1)

        @gx.compile
        def step() -> gx.Tensor:
            loss = gx.mean(model(gx.random.normal((16, 4))) ** 2)
            optimizer.minimize(loss)
            return loss

        return model, optimizer, step

    model, optimizer, step = made()
    step(), step()
    model.save(tmp_path / "model.safetensors")
    nn.save_parameters(optimizer.state_dict() | {"random": gx.random.get_state()}, tmp_path / "rest.safetensors")
    expected = [step().item() for _ in range(3)]
    model, optimizer, step = made()
    step()
    model.load(tmp_path / "model.safetensors")
    rest = nn.load_parameters(tmp_path / "rest.safetensors")
    gx.random.set_state(rest.pop("random"))
    optimizer.load_state_dict(rest)
    assert [step().item() for _ in range(3)] == expected
