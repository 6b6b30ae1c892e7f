"""What work costs on a kind of machine, as far as fusion, absorbing and the prepare split ask.

In: nanoseconds that were measured, each with its measurement. Out: the thresholds that follow. A threshold is a power
of two, since the costs are known no better than that.
"""

from __future__ import annotations

from math import log2

from .cached import cached_property
from .dataclass import dataclass

FLOAT = 4  # bytes of the usual element


@dataclass(frozen=True)
class Costs:
    """What work costs on a kind of machine. `byte`, `instruction`, `product`, `launch` and `meeting` are nanoseconds.

    byte: to read one, beside others. instruction: a simple one for one element, in vectors. product: to multiply two
    numbers and add them, in a product of matrices. launch: to begin with one kernel more. meeting: until all threads
    know that all of them have finished, where that is not part of the launch.

    lone_sum: elements up to which a sum is best left to one thread or block. buffers: that one loop nest may touch.
    values and instructions: of one kernel, beyond which it takes longer to compile than as two, which are then long
    enough that what they store for each other costs nothing. passes: over a row, in each of which what varies along it
    may have to be computed again. cache: bytes that are read again much faster than memory is. panel: columns that a
    product reads side by side, 0 where it does not matter how far apart they lie.
    """

    byte: float
    instruction: float
    product: float
    launch: float
    meeting: float
    lone_sum: int
    buffers: int
    values: int
    instructions: int
    passes: int
    cache: int
    panel: int = 0

    @cached_property
    def expensive(self) -> int:
        """Instructions for an element from which on it is better read than computed."""
        return _power_of_two(FLOAT * self.byte / self.instruction)

    @cached_property
    def cheap(self) -> int:
        """Instructions for an element up to which every reader computes it: half of what reading it costs, since to
        compute it something must be read as well."""
        return self.expensive // 2

    @cached_property
    def shared_bytes(self) -> int:
        """Bytes from which on it is worth a merger that they are read once instead of twice: as long as threads take to
        meet, but a cache line at least."""
        return max(64, _power_of_two(self.meeting / self.byte))

    @cached_property
    def small(self) -> int:
        """Elements of a kernel up to which it takes less time than to begin and end it."""
        return _power_of_two((self.launch + self.meeting) / (FLOAT * self.byte))

    def saved(self, nbytes: int) -> float:
        """Nanoseconds that one kernel less saves, with so many bytes less to read and write."""
        return self.launch + self.meeting + self.byte * nbytes


def _power_of_two(value: float) -> int:
    """The nearest one."""
    return 1 << max(0, round(log2(max(value, 1))))


# A core with vectors of 64 bytes. A byte: 0.011 ns from the second cache, 0.035 from memory (sums of 512 kB and 64 MiB
# by one thread), and this between them. An instruction: chains of products and sums of 4k and 16k floats. A parallel
# region of one thread takes 19 ns, a barrier of two spinning threads 80. A sum of 16k floats takes as long as 16
# meetings. More than 20 streams defeat the prefetchers. A second cache has 1 MiB. Tiles of products have up to 64
# columns.
CPU = Costs(
    byte=0.02,
    instruction=0.014,
    product=0.02,
    launch=19,
    meeting=80,
    lone_sum=1 << 14,
    buffers=20,
    values=400,
    instructions=512,
    passes=6,
    cache=1 << 20,
    panel=64,
)

# An H100, from what its maker says of it; a launch takes the usual 2 to 3 µs. None of it was measured yet. Its memory
# moves 2.8 bytes in a picosecond, its 132 · 128 lanes carry out 29 instructions meanwhile, and one block reads 16k
# floats while a kernel is launched. Blocks don't meet: a launch includes the end of the one before.
GPU = Costs(
    byte=0.00036,
    instruction=0.000034,
    product=0.000004,
    launch=2500,
    meeting=0,
    lone_sum=1 << 14,
    buffers=20,
    values=400,
    instructions=512,
    passes=6,
    cache=32 << 20,
)
