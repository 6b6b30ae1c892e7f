"""What the machine can do at best: its name, the fused multiply-add peak, the speed of copying memory."""

from __future__ import annotations

import ctypes
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from graphc.backends.llvm.run import jit
from graphc.backends.llvm.target import Target, host_target
from graphc.storage import aligned_empty
from graphc.types import TensorType, float32

CHAINS = 10  # independent sums that hide the latency of a multiply-add
UNROLL = 4  # multiply-adds of each chain in one pass of the loop


def name() -> str:
    """Processor, vector width and system, in a line."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    target = host_target()
    return f"{model} ({target.cpu}, {8 * target.vector_bytes}-bit vectors), {platform.system()}"


def _peak_ir(target: Target) -> str:
    """A loop of nothing but independent multiply-adds on whole registers."""
    lanes = target.lanes(float32)
    t, suffix = f"<{lanes} x float>", f"v{lanes}f32"
    first = "\n".join(
        f"  %a{c} = phi {t} [ zeroinitializer, %entry ], [ %x{c}.{UNROLL}, %loop ]" for c in range(CHAINS)
    )
    body = []
    for u in range(UNROLL):
        for c in range(CHAINS):
            last = f"%a{c}" if u == 0 else f"%x{c}.{u}"
            body.append(f"  %x{c}.{u + 1} = call {t} @llvm.fma.{suffix}({t} {last}, {t} %m, {t} %m)")
    total = [f"  %t0 = fadd {t} %x0.{UNROLL}, zeroinitializer"]
    total += [f"  %t{c} = fadd {t} %t{c - 1}, %x{c}.{UNROLL}" for c in range(1, CHAINS)]
    return f"""
declare {t} @llvm.fma.{suffix}({t}, {t}, {t})
define void @peak(ptr %out, i64 %n) {{
entry:
  %m = load {t}, ptr %out
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
{first}
{chr(10).join(body)}
  %j = add i64 %i, 1
  %c = icmp slt i64 %j, %n
  br i1 %c, label %loop, label %end
end:
{chr(10).join(total)}
  store {t} %t{CHAINS - 1}, ptr %out
  ret void
}}
"""


class Peak:
    """The machine's measured float32 multiply-add peak."""

    def __init__(self) -> None:
        self.target = host_target()
        self.code = jit.load([jit.compile_object(_peak_ir(self.target), self.target, level=2)], ["peak"])
        self.function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(self.code["peak"])
        self.flops = 2 * CHAINS * UNROLL * self.target.lanes(float32)

    def run(self, passes: int, threads: int) -> float:
        """GFLOP/s of so many threads, each doing `passes` passes of the loop."""
        buffers = [aligned_empty(TensorType(float32, (16,))) for _ in range(threads)]
        for b in buffers:
            b.fill(1e-3)
        with ThreadPoolExecutor(threads) as pool:
            start = time.perf_counter()
            list(pool.map(lambda b: self.function(b.ctypes.data, passes), buffers))
            return threads * passes * self.flops / (time.perf_counter() - start) / 1e9

    def best(self, threads: int) -> float:
        """The best of several runs of some milliseconds."""
        return max(self.run(200_000, threads) for _ in range(15))


def copier(nbytes: int, threads: int):
    """A function that copies `nbytes` bytes into a buffer that is used again, with NumPy on so many threads."""
    source, to = (aligned_empty(TensorType(float32, (nbytes // 4,))) for _ in range(2))
    source.fill(1)
    to.fill(0)
    if threads == 1:
        return lambda: np.copyto(to, source)
    pool = ThreadPoolExecutor(threads)
    parts = list(zip(np.array_split(to, threads), np.array_split(source, threads), strict=True))
    return lambda: list(pool.map(lambda p: np.copyto(*p), parts))
