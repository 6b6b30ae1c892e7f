"""What generated code may use of an x86 processor: a closed list, each feature with where the processor reports it.

Code is generated with these features and no others, so that a program can look, before it runs any of it, whether the
processor that it finds itself on has them all. (LLVM knows many more; none of them matters to code like ours.)
"""

from __future__ import annotations

from typing import NamedTuple

BASE = frozenset({"64bit", "cmov", "cx8", "fxsr", "mmx", "sse", "sse2", "x87"})  # every 64-bit processor's

AVX, AVX512, AMX = 0x06, 0xE6, 0x60000  # the bits of XCR0: registers that the operating system has to save


class Bit(NamedTuple):
    """A bit of CPUID's answer to (leaf, subleaf), in register 0 to 3 for eax to edx; and the bits of XCR0 needed."""

    leaf: int
    subleaf: int
    register: int
    bit: int
    state: int = 0


EAX, EBX, ECX, EDX = range(4)
CHECKED: dict[str, Bit] = {
    "sse3": Bit(1, 0, ECX, 0),
    "ssse3": Bit(1, 0, ECX, 9),
    "fma": Bit(1, 0, ECX, 12, AVX),
    "cx16": Bit(1, 0, ECX, 13),
    "sse4.1": Bit(1, 0, ECX, 19),
    "sse4.2": Bit(1, 0, ECX, 20),
    "crc32": Bit(1, 0, ECX, 20),
    "movbe": Bit(1, 0, ECX, 22),
    "popcnt": Bit(1, 0, ECX, 23),
    "avx": Bit(1, 0, ECX, 28, AVX),
    "f16c": Bit(1, 0, ECX, 29, AVX),
    "bmi": Bit(7, 0, EBX, 3),
    "avx2": Bit(7, 0, EBX, 5, AVX),
    "bmi2": Bit(7, 0, EBX, 8),
    "avx512f": Bit(7, 0, EBX, 16, AVX512),
    "avx512dq": Bit(7, 0, EBX, 17, AVX512),
    "avx512ifma": Bit(7, 0, EBX, 21, AVX512),
    "avx512cd": Bit(7, 0, EBX, 28, AVX512),
    "avx512bw": Bit(7, 0, EBX, 30, AVX512),
    "avx512vl": Bit(7, 0, EBX, 31, AVX512),
    "avx512vbmi": Bit(7, 0, ECX, 1, AVX512),
    "avx512vbmi2": Bit(7, 0, ECX, 6, AVX512),
    "gfni": Bit(7, 0, ECX, 8),
    "avx512vnni": Bit(7, 0, ECX, 11, AVX512),
    "avx512bitalg": Bit(7, 0, ECX, 12, AVX512),
    "avx512vpopcntdq": Bit(7, 0, ECX, 14, AVX512),
    "amx-bf16": Bit(7, 0, EDX, 22, AMX),
    "avx512fp16": Bit(7, 0, EDX, 23, AVX512),
    "amx-tile": Bit(7, 0, EDX, 24, AMX),
    "amx-int8": Bit(7, 0, EDX, 25, AMX),
    "avxvnni": Bit(7, 1, EAX, 4, AVX),
    "avx512bf16": Bit(7, 1, EAX, 5, AVX512),
    "avxifma": Bit(7, 1, EAX, 23, AVX),
    "sahf": Bit(0x80000001, 0, ECX, 0),
    "lzcnt": Bit(0x80000001, 0, ECX, 5),
}


def closed(features: str) -> str:
    """The features in LLVM's notation, with all that is neither everyone's nor checked switched off."""
    known = BASE | CHECKED.keys()
    words = [w for w in features.split(",") if w]
    return ",".join(w if w[0] == "-" or w[1:] in known else f"-{w[1:]}" for w in words)


def needed(features: str) -> list[str]:
    """Those that a program with such code has to look for, in the table's order."""
    have = {w[1:] for w in features.split(",") if w.startswith("+")}
    return [name for name in CHECKED if name in have]
