"""Randomness: known Philox bits, fresh numbers at each use, equal ones for equal seeds, and plausible statistics."""

import math
from collections.abc import Callable

import numpy as np
import pytest

import graphc as gx
from graphc import DTypeError, TraceError
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


def test_each_call_of_a_compiled_function_draws_anew() -> None:
    f = gx.compile(lambda x: x + gx.random.uniform((2,)) + gx.random.uniform((2,)))
    gx.random.seed(0)
    first, second = f(np.float32(0)), f(np.float32(0))
    gx.random.seed(0)
    expected = gx.random.uniform((2,)) + gx.random.uniform((2,))
    assert first.tolist() == expected.tolist() != second.tolist()
    with pytest.raises(TraceError, match="outside of traced"):
        gx.trace(lambda x: gx.random.seed(1) or x, np.ones(1))  # type: ignore[func-returns-value]


def is_close(measured: float, expected: float, deviation: float, count: int) -> bool:
    """Within five standard errors."""
    return abs(measured - expected) < 5 * deviation / math.sqrt(count)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_uniform(dtype: str) -> None:
    x = gx.random.uniform((20000,), -1, 3, dtype=dtype, generator=Generator(1))
    values = x.numpy().astype(np.float64)
    assert x.dtype.name == dtype and values.min() >= -1 and values.max() <= 3
    assert is_close(values.mean(), 1, 4 / math.sqrt(12), 20000)
    assert abs(np.histogram(values, 4)[0] / 5000 - 1).max() < 0.1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_normal(dtype: str) -> None:
    x = gx.random.normal((100, 200), 2, 3, dtype=dtype, generator=Generator(1)).numpy().astype(np.float64)
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


@pytest.mark.parametrize("draw", [gx.random.uniform, gx.random.normal, gx.random.bits])
def test_shapes(draw: Callable[..., gx.Tensor]) -> None:
    assert draw(()).shape == () and draw(3).shape == (3,) and draw((2, 0)).shape == (2, 0)


def test_parameters_that_are_arrays() -> None:
    means, widths = np.array([[0.0], [100.0]], np.float32), np.array([0.0, 1.0, 2.0], np.float32)
    x = gx.random.normal((2, 3), means, widths).numpy()
    assert x.dtype == np.float32 and x[:, 0].tolist() == [0, 100] and (abs(x - means) <= 7 * widths).all()
    y = gx.random.uniform((2, 3), means, means + widths).numpy()
    assert ((means <= y) & (y <= means + widths)).all()
    with pytest.raises(gx.ShapeError):
        gx.random.normal((2, 3), np.zeros(4), 1.0)


def test_integers_fit_their_dtype() -> None:
    assert gx.random.randint(-128, 128, (50,), dtype="int8").dtype is gx.int8
    for low, high in ((0, 1000), (-200, 0)):
        with pytest.raises(gx.DTypeError, match="int8"):
            gx.random.randint(low, high, (5,), dtype="int8")
