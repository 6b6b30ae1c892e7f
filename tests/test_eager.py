"""Concrete operations: evaluated at once, and what they give is what compiled functions give."""

import threading

import numpy as np
import pytest

import graphc as gx
from graphc.frontend.pieces import PIECE, in_pieces
from graphc.ops.random import philox_block, philox_blocks
from graphc.random import Generator

# Randomness: the same bits, though one is computed element by element and the other block by block, in pieces

SIZES = [(0,), (), (5,), (33, 7), (PIECE + 3,)]
DRAWS = {
    "bits": lambda s, g: gx.random.bits(s, generator=g),
    "uniform": lambda s, g: gx.random.uniform(s, -0.3, 0.7, generator=g),
    "uniform of arrays": lambda s, g: gx.random.uniform(s, np.float32(-1), np.float32(3), generator=g),
    "uniform float16": lambda s, g: gx.random.uniform(s, -0.3, 0.7, dtype="float16", generator=g),
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
    compiled = gx.compile(lambda: gx.random.normal((PIECE + 3,), 1, 2, dtype=dtype, generator=other))()
    tolerance = 4 * gx.finfo(dtype).eps
    got = gx.random.normal((PIECE + 3,), 1, 2, dtype=dtype, generator=one)
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


def test_an_error_in_a_piece_comes_through() -> None:
    def make(start: int, stop: int) -> np.ndarray:
        if start == 5 * PIECE:
            raise MemoryError("no memory")
        return np.zeros(stop - start)

    with pytest.raises(MemoryError, match="no memory"):
        in_pieces(1 << 20, make)


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
