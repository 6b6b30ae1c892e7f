"""Products of narrow numbers: instructions that multiply several neighbours along k and add them to one sum.

In: the dtypes of a product, and a target. Out: how many k such an instruction takes, as what operands are packed for
it, and its code. Neighbours along k lie side by side in a *word* of 4 bytes, as large as a sum; so panels, tiles and
strides count words and are what they are for float32. Knows no kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphc.dataclass import dataclass
from graphc.types import DType, bfloat16, float32, int8, int16, int32, uint8

from ..emit.text import Code, register_type, vector_of
from ..target import Target

BITS = 32  # of a word
TILE_SIDE = 16  # rows, columns, and words along k, of what an instruction on tiles multiplies


@dataclass(frozen=True)
class Words:
    """`size` neighbours along k are a word. `elements`: the dtypes that rows and columns are packed as.

    `function` is LLVM's name of the instruction, without the bits of its vectors, and `element` LLVM's type of what it
    multiplies. `swaps`: it wants the element of the columns first. `tiles`: it multiplies matrices, see
    `matrix_tile.py`.
    """

    size: int
    elements: tuple[DType, DType]
    function: str
    element: str
    swaps: bool = False
    tiles: bool = False

    @property
    def step(self) -> int:
        """Words that it takes along k."""
        return TILE_SIDE if self.tiles else 1

    def multiply_add(self, code: Code, left: str, right: str, sums: str, dtype: DType, lanes: int) -> str:
        """sums + the products of two vectors of words, which to whoever moves them are numbers of `dtype`."""
        total, each = register_type(dtype, lanes), vector_of(self.element, lanes * self.size)
        factors = (right, left) if self.swaps else (left, right)
        a, b = (code.let(f"bitcast {total} {x} to {each}") for x in factors)
        name = f"llvm.x86.{self.function}.{lanes * BITS}"
        return code.call(total, name, (total, sums), (each, a), (each, b))


def words_for(target: Target, rows: DType, columns: DType, sums: DType) -> Iterator[Words]:
    """How the target multiplies these, the fastest way first; nothing where it has no instruction for them.

    bfloat16: two at a time; subnormal numbers, and sums as small, count as 0 in it. 8-bit integers: four at a time
    where one side has a sign and the other none, which is what the instruction on vectors takes; else two, as 16-bit
    integers. All integer products are exact, and sums wrap.
    """
    if sums is float32 and rows is columns is bfloat16:
        if target.has_bfloat16_tiles:
            yield Words(2, (bfloat16, bfloat16), "tdpbf16ps", "bfloat", tiles=True)
        if target.has_bfloat16_dot:
            yield Words(2, (bfloat16, bfloat16), "avx512bf16.dpbf16ps", "bfloat")
    if sums is not int32 or not {rows, columns} <= {int8, uint8}:
        return
    if target.has_integer_tiles:
        signs = "".join("s" if dtype is int8 else "u" for dtype in (rows, columns))
        yield Words(4, (rows, columns), f"tdpb{signs}d", "i8", tiles=True)
    if target.has_integer_dot and rows is not columns:
        yield Words(4, (rows, columns), "avx512.vpdpbusd", "i8", swaps=columns is uint8)
    if target.has_integer_dot and rows is columns:
        yield Words(2, (int16, int16), "avx512.vpdpwssd", "i16")


def as_words(code: Code, parts: Sequence[str], element: DType, dtype: DType, lanes: int) -> str:
    """Words of neighbours along k, one vector (or scalar) for each, as `lanes` elements of the sums' dtype."""
    if lanes == 1:
        pair = vector_of(register_type(element, 1), len(parts))
        joined = "poison"
        for place, part in enumerate(parts):
            joined = code.let(f"insertelement {pair} {joined}, {register_type(element, 1)} {part}, i64 {place}")
    else:
        joined = _interleaved(code, parts, element, lanes)
    whole = vector_of(register_type(element, 1), len(parts) * lanes)
    return code.let(f"bitcast {whole} {joined} to {register_type(dtype, lanes)}")


def _interleaved(code: Code, parts: Sequence[str], element: DType, lanes: int) -> str:
    """The first lane of all parts, in order, then the second, and so on: halves first, since (0, 2) and (1, 3)
    interleaved are interleaved to 0, 1, 2, 3."""
    if len(parts) == 1:
        return parts[0]
    a, b = (_interleaved(code, parts[start::2], element, lanes) for start in (0, 1))
    length = len(parts) // 2 * lanes
    type_ = register_type(element, length)
    order = ", ".join(f"i32 {i}, i32 {length + i}" for i in range(length))
    return code.let(f"shufflevector {type_} {a}, {type_} {b}, <{2 * length} x i32> <{order}>")
