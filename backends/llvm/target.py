"""What the code generator must know of a machine: vector width, registers, caches, features.

In: the host, or a triple and CPU name for another machine. Out: one small frozen description, so that
cross-compilation is a parameter. Nothing else in the backend asks which machine it is on.
"""

from __future__ import annotations

import ctypes
import os
from functools import lru_cache
from pathlib import Path

from graphc.dataclass import dataclass
from graphc.types import DType

from . import library
from .features import closed


@dataclass(frozen=True)
class Target:
    """A machine to generate code for. Cache sizes are bytes per core (L3: per core that shares it)."""

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    vector_registers: int
    has_fma: bool
    has_half: bool   # instructions that convert float16
    has_scale: bool = False  # an instruction for x·2ᵏ, on whole registers
    has_bfloat16_dot: bool = False  # … a fast one for sums of two products of bfloat16, on whole registers
    has_integer_dot: bool = False   # … for sums of four products of 8-bit integers, or two of 16-bit ones
    has_bfloat16_tiles: bool = False  # … that multiply whole matrices, kept in registers of their own
    has_integer_tiles: bool = False
    l1: int = 32 << 10
    l2: int = 512 << 10
    l3: int = 16 << 20

    def lanes(self, dtype: DType) -> int:
        """Elements of `dtype` in one vector register."""
        return self.vector_bytes // dtype.itemsize

    @property
    def is_x86(self) -> bool:
        return self.triple.startswith(("x86_64", "i686"))

    @property
    def key(self) -> tuple[str, str, str]:
        """What object code depends on."""
        return self.triple, self.cpu, self.features


@lru_cache(maxsize=1)
def host_target() -> Target:
    """The machine that this process runs on."""
    triple, name, features = library.host()
    text = ",".join(f"{'+' if features[f] else '-'}{f}" for f in sorted(features))
    if triple.startswith("x86_64"):
        text = closed(text if not features.get("amx-tile") or may_use_tiles() else without_tiles(text))
    if features.get("avx512f"):
        text += ",-prefer-256-bit"   # else LLVM splits explicit 512-bit vectors in two
    return describe(triple, name, text, *_host_caches())


def describe(
    triple: str, cpu: str, features: str, l1: int = 32 << 10, l2: int = 512 << 10, l3: int = 16 << 20
) -> Target:
    """The description of a machine given LLVM's names for it (`features` as in "+avx2,-avx512f")."""
    have = {f[1:] for f in features.split(",") if f.startswith("+")}
    if triple.startswith("x86_64"):
        width, registers = (64, 32) if "avx512f" in have else (32, 16) if "avx" in have else (16, 16)
        fma, half = "fma" in have or "avx512f" in have, "f16c" in have or "avx512f" in have
    else:   # aarch64 has 128-bit vectors, a fused multiply-add and float16 in its base; others may not
        width, registers, fma, half = 16, 32, triple.startswith("aarch64"), triple.startswith("aarch64")
    wide = "avx512f" in have
    # Only AMD's is fast. Intel's takes two cycles, so that float32 is faster: 112 against 169 GFLOP/s on one core of
    # Granite Rapids, 1024³.
    bfloat16_dot = wide and "avx512bf16" in have and cpu.startswith("znver")
    integer_dot = "avx512vnni" in have if wide else "avxvnni" in have
    bfloat16_tiles, integer_tiles = (wide and {"amx-tile", name} <= have for name in ("amx-bf16", "amx-int8"))
    return Target(
        triple, cpu, features, width, registers, fma, half, wide, bfloat16_dot, integer_dot, bfloat16_tiles,
        integer_tiles, l1, l2, l3,
    )  # fmt: skip


def without_tiles(features: str) -> str:
    """The features with those for products of matrices switched off."""
    return ",".join(f"-{f[1:]}" if f[1:].startswith("amx-") else f for f in features.split(","))


ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18  # Linux on x86-64: asm/prctl.h, XFEATURE_XTILEDATA


def may_use_tiles() -> bool:
    """Ask Linux for the registers of tiles, which each process has to: they make what is saved of a thread larger.
    Its threads and children have them as well."""
    return ctypes.CDLL(None).syscall(ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA) == 0


def _host_caches() -> tuple[int, int, int]:
    """L1 data, L2 and L3 bytes as Linux reports them for the first processor; typical sizes where it doesn't."""
    sizes = {1: 32 << 10, 2: 512 << 10, 3: 16 << 20}
    folder = Path("/sys/devices/system/cpu/cpu0/cache")
    if folder.is_dir():
        for entry in sorted(folder.glob("index*")):
            try:
                kind = (entry / "type").read_text().strip()
                level = int((entry / "level").read_text())
                size = int((entry / "size").read_text().strip().removesuffix("K")) << 10
            except (OSError, ValueError):
                continue
            if kind != "Instruction" and level in sizes:
                sizes[level] = size
    sizes[3] //= max(1, min(os.cpu_count() or 1, 8))
    return sizes[1], sizes[2], sizes[3]
