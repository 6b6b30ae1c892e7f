"""Randomness: Philox bits under a key that each use of a generator draws anew. The same bits on every backend.

A `Generator` is a Variable: two key words and the number of uses so far. Use n has a key of its own, the first two
words of the generator's block n; its element i is a word of block i // 4 (or i // 2 where it takes two words).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from graphc import ops
from graphc.brief import brief
from graphc.errors import DTypeError, GraphcError, ShapeError, TraceError
from graphc.hook import call_lock
from graphc.ops.random import philox_block, philox_blocks
from graphc.storage import WRITE
from graphc.types import DType, DTypeLike, as_dtype, float32, float64, uint32, uint64

from .binary import add, bitwise_and, bitwise_or, bitwise_right_shift, less, multiply, subtract
from .context import current_frame
from .creation import Shape, as_shape, iota
from .emit import (
    ArrayLike,
    as_tensor,
    broadcast_shape,
    cast,
    emit,
    is_number,
    operation,
    stretch,
    whole,
    wide,
)
from .location import with_user_line
from .pieces import in_pieces
from .shapes import reshape, stack
from .tensor import Tensor, concrete
from .unary import cos, log, sqrt
from .variable import Variable


class ProbabilityError(GraphcError, ValueError):
    """A number that is no probability."""


class Generator:
    """A source of random numbers; each use gives new ones, and equal seeds give equal numbers.

    In a compiled function its state is part of the program, so every call draws new numbers. The numbers
    repeat after 2³² uses.
    """

    @with_user_line
    def __init__(self, seed: int = 0) -> None:
        self.state = Variable(_initial_state(seed), trainable=False, name="random_state")

    @with_user_line
    def seed(self, seed: int) -> None:
        """Start over, as `Generator(seed)` does. `seed` is an int in 0 … 2⁶⁴ − 1."""
        self.state.assign(_initial_state(seed))

    @with_user_line
    def get_state(self) -> Tensor:
        """What the next numbers follow from: uint32[3], to be kept with a checkpoint."""
        return self.state.value

    @with_user_line
    def set_state(self, state: ArrayLike) -> None:
        """Go on where `get_state` was asked. Raises ShapeError or DTypeError for what is no state."""
        self.state.assign(_checked_state(state))

    def _traced_key(self) -> tuple[Tensor, Tensor]:
        """The key of the next use, in a trace."""
        state = self.state.value
        low, high, used = state[0], state[1], state[2]
        self.state.assign(stack([low, high, add(used, 1)]))
        first, second = (emit(ops.philox, low, high, used, as_tensor(word, uint32)) for word in (0, 1))
        return first, second

    def _key(self) -> tuple[int, int]:
        """The key of the next use, outside of a trace. No two uses get the same: the lock keeps other threads and
        compiled functions out, and where a signal's handler came between, the version tells."""
        storage = self.state.storage
        while True:
            with call_lock:
                version = storage.version
                low, high, used = storage.array.tolist()
                storage.write(np.array([low, high, (used + 1) & 0xFFFFFFFF], np.uint32))
                if storage.version == version + WRITE:
                    return philox_block((low, high), used)[:2]


def _initial_state(seed: int) -> np.ndarray:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 1 << 64:
        raise DTypeError("a seed is an int in 0 … 2**64 − 1", got=brief(seed))
    number = int(seed)
    return np.array([number & 0xFFFFFFFF, number >> 32, 0], np.uint32)


def _checked_state(state: ArrayLike) -> np.ndarray:
    """The state as uint32[3]. Files such as JSON's give it back as whole numbers of another type, which will do."""
    rule = "a generator's state is what get_state gave: uint32[3]"
    array = np.asarray(state.numpy() if isinstance(state, Tensor | Variable) else state)
    if array.shape != (3,):
        raise ShapeError(rule, got=brief(state))
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 0xFFFFFFFF:
        raise DTypeError(rule, got=brief(state))
    return array.astype(np.uint32)


default_generator = Generator(0)  # what is used where no `generator=` is given


@with_user_line
def seed(n: int) -> None:
    """Seed the default generator. Raises TraceError inside a trace, where it would happen at every call."""
    if current_frame() is not None:
        raise TraceError("gx.random.seed belongs outside of traced functions")
    default_generator.seed(n)


@with_user_line
def get_state() -> Tensor:
    """The state of the default generator, uint32[3]: to be saved, so that a training that goes on elsewhere draws the
    same numbers. A snapshot; inside a trace, the state at that point."""
    return default_generator.get_state()


@with_user_line
def set_state(state: ArrayLike) -> None:
    """Let the default generator go on where `get_state` was asked.

    Raises ShapeError or DTypeError for what is no state, and then changes nothing; TraceError inside a trace, where it
    would happen at every call.
    """
    if current_frame() is not None:
        raise TraceError("gx.random.set_state belongs outside of traced functions")
    default_generator.set_state(state)


@operation
def bits(shape: Shape, *, generator: Generator | None = None) -> Tensor:
    """Random uint32, all 32 bits of them."""
    return _drawn(as_shape(shape), 1, generator, lambda word: word)


Finish: TypeAlias = Callable[..., Tensor]


def _drawn(
    sizes: tuple[int, ...], count: int, generator: Generator | None, finish: Finish, uses: int = 1
) -> Tensor:
    """An array of these sizes: `finish` of `count` (1, 2) vectors of random words from each of so many uses, which
    have an element for each of its elements. It must treat elements alike, since outside of a trace it gets pieces."""
    size = math.prod(sizes)
    if size >= 1 << 32:
        raise ShapeError("one use of a generator gives less than 2**32 numbers", got=str(size))
    source = default_generator if generator is None else generator
    if current_frame() is not None:
        words = [w for _ in range(uses) for w in _traced_words(size, count, *source._traced_key())]
        return reshape(finish(*words), sizes)
    keys = [source._key() for _ in range(uses)]

    def piece(start: int, stop: int) -> np.ndarray:
        columns = [column for key in keys for column in _words(key, count, start, stop)]
        return finish(*map(concrete, columns))._array

    return concrete(in_pieces(size, piece).reshape(sizes))


def _traced_words(size: int, count: int, low: Tensor, high: Tensor) -> list[Tensor]:
    position = iota(size, uint32)
    per_block = 4 // count
    block = bitwise_right_shift(position, per_block.bit_length() - 1)
    first = multiply(bitwise_and(position, per_block - 1), count)
    low, high = stretch(low, (size,)), stretch(high, (size,))
    return [emit(ops.philox, low, high, block, add(first, word) if word else first) for word in range(count)]


def _words(key: tuple[int, int], count: int, start: int, stop: int) -> list[np.ndarray]:
    """The same words, of the elements from start, the first of a block, to stop."""
    blocks = philox_blocks(key, start * count // 4, -(-(stop - start) * count // 4))
    return list(blocks.reshape(-1, count)[: stop - start].T)


def _fraction(dtype: DType, *words: Tensor) -> Tensor:
    """Uniform in 0 ≤ x < 1: as many random bits as the mantissa of the dtype holds, 24 or, of two words, 53, scaled."""
    if dtype is float64:
        high, low = (cast(w, uint64) for w in words)
        whole = bitwise_right_shift(bitwise_or(multiply(high, 1 << 32), low), 11)
        return multiply(cast(whole, float64), 2.0**-53)
    (word,) = words
    return multiply(cast(bitwise_right_shift(word, 8), float32), 2.0**-24)


def _check_broadcasts(sizes: tuple[int, ...], function: str, *parameters: ArrayLike) -> None:
    """Raises ShapeError for a parameter that would make the result larger than was asked for."""
    for parameter in parameters:
        if not is_number(parameter):
            type_ = as_tensor(parameter).type
            if broadcast_shape(sizes, type_.shape) != sizes:
                raise ShapeError(f"gx.random.{function} takes parameters that broadcast to its shape",
                                 got=f"{type_} for {sizes}")  # fmt: skip


@operation
def uniform(
    shape: Shape, *, low: ArrayLike = 0.0, high: ArrayLike = 1.0,
    dtype: DTypeLike = "float32", generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Numbers equally likely anywhere in low ≤ x < high (rounding may give high itself).

    low and high may be arrays that broadcast to the shape. They are given by name: uniform(3, 4) would be low and high
    to those who know NumPy, and two sizes to those who know PyTorch.
    """
    chosen, sizes = _float(dtype), as_shape(shape)
    _check_broadcasts(sizes, "uniform", low, high)
    are_numbers = isinstance(low, float | int) and isinstance(high, float | int)

    def finish(*words: Tensor) -> Tensor:
        x = _fraction(chosen, *words)
        return placed(x) if are_numbers else x

    def placed(x: Tensor) -> Tensor:
        if are_numbers:
            x = multiply(x, float(high) - float(low)) if high - low != 1 else x
            return cast(add(x, float(low)) if low else x, chosen)
        first, end = wide(low), wide(high)  # their distance may pass the range of 16 bits
        return cast(add(multiply(x, subtract(end, first)), first), chosen)

    x = _drawn(sizes, 2 if chosen is float64 else 1, generator, finish)
    return x if are_numbers else placed(x)


@operation
def normal(
    shape: Shape, *, mean: ArrayLike = 0.0, std: ArrayLike = 1.0,
    dtype: DTypeLike = "float32", generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Normally distributed numbers, by Box and Muller's transform (1958).

    mean and std may be arrays that broadcast to the shape, and are given by name, as those of `uniform`.
    """
    chosen, sizes = _float(dtype), as_shape(shape)
    _check_broadcasts(sizes, "normal", mean, std)
    are_numbers = isinstance(mean, float | int) and isinstance(std, float | int)

    def finish(*words: Tensor) -> Tensor:
        half = len(words) // 2
        radius, angle = _fraction(chosen, *words[:half]), _fraction(chosen, *words[half:])
        x = multiply(sqrt(multiply(log(subtract(1.0, radius)), -2.0)), cos(multiply(angle, 2 * math.pi)))
        return placed(x) if are_numbers else x

    def placed(x: Tensor) -> Tensor:
        x = multiply(x, std) if not (isinstance(std, float | int) and std == 1) else x
        x = add(x, mean) if not (isinstance(mean, float | int) and mean == 0) else x
        return cast(x, chosen)

    x = _drawn(sizes, 2, generator, finish, uses=2 if chosen is float64 else 1)
    return x if are_numbers else placed(x)


@operation
def randint(
    low: int, high: int, shape: Shape, *, dtype: DTypeLike = "int64", generator: Generator | None = None
) -> Tensor:
    """Integers equally likely in low ≤ x < high, of which there are at most 2³².

    A random word w gives low + floor(w · count / 2³²), so the bias is below count / 2³². Raises ShapeError for ends
    that are no whole numbers.
    """
    rule = "randint's ends are whole numbers, known while tracing"
    low, high = whole(low, rule), whole(high, rule)
    chosen, sizes, count = as_dtype(dtype), as_shape(shape), high - low
    if not chosen.is_integer or not 0 < count <= 1 << 32:
        raise DTypeError("randint takes an integer dtype and 1 to 2**32 integers to choose from",
                         got=f"{chosen}, {low} … {high - 1}")  # fmt: skip
    if low < chosen.min or high - 1 > chosen.max:
        raise DTypeError(f"randint's numbers have to fit {chosen}, {chosen.min} … {chosen.max}",
                         got=f"{low} … {high - 1}", hint="give another dtype=")  # fmt: skip

    def finish(word: Tensor) -> Tensor:
        scaled = bitwise_right_shift(multiply(cast(word, uint64), count), 32)
        return add(cast(scaled, chosen), low) if low else cast(scaled, chosen)

    return _drawn(sizes, 1, generator, finish)


@operation
def bernoulli(p: ArrayLike, shape: Shape, *, generator: Generator | None = None) -> Tensor:
    """True with probability p, which broadcasts to the shape. Raises ProbabilityError for a number that is none."""
    sizes = as_shape(shape)
    if is_number(p) and not 0 <= p <= 1:
        raise ProbabilityError("a probability is between 0 and 1", got=brief(p))
    _check_broadcasts(sizes, "bernoulli", p)
    return less(_drawn(sizes, 1, generator, lambda word: _fraction(float32, word)), p)


def _float(dtype: DTypeLike) -> DType:
    chosen = as_dtype(dtype)
    if not chosen.is_float:
        raise DTypeError("random fractions are of a float dtype", got=str(chosen))
    return chosen


__all__ = ["Generator", "bernoulli", "bits", "get_state", "normal", "randint", "seed", "set_state", "uniform"]
