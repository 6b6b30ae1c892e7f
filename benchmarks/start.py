"""Start-up: import, cold compile, warm start from the disk cache, and the cost of one call. Each in fresh processes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"

IMPORT = "import time, numpy; t = time.perf_counter(); import graphc; print(time.perf_counter() - t)"
COMPILE = f"""
import sys, time
sys.path.insert(0, {str(EXAMPLES)!r})
from digits import digits, load
train, _ = load()
task = digits()
x, y = train.images[:128], train.labels[:128]
t = time.perf_counter()
task.train_step(x, y)
print(time.perf_counter() - t)
"""
CALL = """
import time
import numpy as np
import graphc as gx
f = gx.compile(lambda x: x + 1)
x = np.zeros(4, np.float32)
f(x)
best = 1.0
for _ in range(20):
    t = time.perf_counter()
    for _ in range(20000):
        f(x)
    best = min(best, (time.perf_counter() - t) / 20000)
print(best)
"""


def _run(code: str, cache: str) -> float:
    environment = {**os.environ, "GRAPHC_CACHE_DIR": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # bytecode is kept, as for any user
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return float(output.stdout)


def run(threads: int) -> list[dict[str, object]]:
    """Medians over fresh processes, in milliseconds; the call in microseconds."""
    with tempfile.TemporaryDirectory() as folder:
        imports = [_run(IMPORT, folder) for _ in range(7)]
        cold = [_run(COMPILE, str(Path(folder) / str(n))) for n in range(5)]
        warm = [_run(COMPILE, str(Path(folder) / "0")) for _ in range(5)]
        calls = [_run(CALL, folder) for _ in range(3)]
    return [
        {"what": "import graphc, beyond NumPy (ms)", "median": 1e3 * statistics.median(imports), "goal": 150},
        {
            "what": "digits training step: first call, cold (ms)",
            "median": 1e3 * statistics.median(cold),
            "goal": 1000,
        },
        {
            "what": "digits training step: first call, cached (ms)",
            "median": 1e3 * statistics.median(warm),
            "goal": 100,
        },
        {"what": "one call of x + 1 on 4 numbers (µs)", "median": 1e6 * statistics.median(calls), "goal": 3},
    ]
