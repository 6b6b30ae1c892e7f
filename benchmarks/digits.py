"""The digits example: accuracy for five seeds, and its speed next to other libraries."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

import digits
import digits_speed


def accuracy(threads: int) -> list[dict[str, object]]:
    """Test accuracy and training time for the seeds 0 to 4."""
    train, test = digits.load()
    rows: list[dict[str, object]] = []
    for seed in range(5):
        task = digits.digits(seed)
        task.train_step.specialize()
        start = time.perf_counter()
        digits.fit(task, train, seed)
        seconds = time.perf_counter() - start
        found = float(task.evaluate(test.images, test.labels))
        rows.append({"seed": seed, "test accuracy": found, "goal": 0.97, "training (s)": seconds})
    return rows


def speed(threads: int) -> list[dict[str, object]]:
    """Medians of training step and inference for graphc's backends and its peers."""
    train, test = digits.load()
    rows, missing = digits_speed.measure(train, test, threads)
    for name, reason in missing.items():
        print(f"{name} could not run here: {reason}", file=sys.stderr)
    return rows
