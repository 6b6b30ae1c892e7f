"""Handwritten digits from end to end: train, build a standalone program, check it, compare backends.

    python examples/digits.py [--seed N] [--epochs N]
    graphc show examples/digits.py:train_step --stage schedule

The data are the 1,797 8×8 digits of examples/data (see the README there). A fixed fifth of them is the test set.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import graphc as gx
from graphc import nn, optim

DATA = Path(__file__).parent / "data" / "digits.npz"
BATCH = 128
TEST = 360


@dataclass(frozen=True)
class Split:
    """Images as float32 rows of 64 pixels in 0 … 1, and labels as int64."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def load() -> tuple[Split, Split]:
    """The training and the test set."""
    with np.load(DATA) as file:
        images = (file["images"].reshape(-1, 64) / 16).astype(np.float32)
        labels = file["labels"].astype(np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    test, train = order[:TEST], order[TEST:]
    return Split(images[train], labels[train]), Split(images[test], labels[test])


@dataclass(frozen=True)
class Digits:
    """A model with its compiled functions."""

    model: nn.Module
    optimizer: optim.Adam
    train_step: Any
    predict: Any
    evaluate: Any


def digits(seed: int = 0, backend: str | None = None) -> Digits:
    """A fresh classifier, 64 → 128 → 10, and its training step, prediction and evaluation."""
    gx.random.seed(seed)
    model = nn.Sequential(nn.Linear(64, 128), nn.relu, nn.Linear(128, 10))
    optimizer = optim.Adam(model, lr=1e-2)

    @gx.compile(inputs=[gx.spec((BATCH, 64)), gx.spec((BATCH,), "int64")], backend=backend)
    def train_step(x: gx.Tensor, y: gx.Tensor) -> tuple[gx.Tensor, gx.Tensor]:
        logits = model(x)
        loss = nn.cross_entropy(logits, y)
        optimizer.minimize(loss)
        return loss, gx.mean(gx.astype(gx.argmax(logits, axis=1) == y, "float32"))

    @gx.compile(inputs=[gx.spec((None, 64))], backend=backend)
    def predict(x: gx.Tensor) -> gx.Tensor:
        return nn.softmax(model(x))

    @gx.compile(inputs=[gx.spec((None, 64)), gx.spec((None,), "int64")], backend=backend)
    def evaluate(x: gx.Tensor, y: gx.Tensor) -> gx.Tensor:
        return gx.mean(gx.astype(gx.argmax(model(x), axis=1) == y, "float32"))

    return Digits(model, optimizer, train_step, predict, evaluate)


def batches(train: Split, rng: np.random.Generator) -> list[np.ndarray]:
    """One epoch's batches: the rows of each. The remainder of a shuffle waits for the next one."""
    order = rng.permutation(len(train))
    return [order[i : i + BATCH] for i in range(0, len(order) - BATCH + 1, BATCH)]


def fit(task: Digits, train: Split, seed: int = 0, epochs: int = 60, report: Any = None) -> None:
    """Train with a learning rate that falls to zero along half a cosine; `report(loss, accuracy)` after each step."""
    rng = np.random.default_rng(seed)
    steps = epochs * (len(train) // BATCH)
    rate, step = task.optimizer.lr, 0
    for _ in range(epochs):
        for rows in batches(train, rng):
            task.optimizer.lr = rate * 0.5 * (1 + np.cos(np.pi * step / steps))
            loss, accuracy = task.train_step(train.images[rows], train.labels[rows])
            step += 1
            if report is not None:
                report(float(loss), float(accuracy))


def fit_with_progress(task: Digits, train: Split, seed: int, epochs: int) -> None:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("training"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("", total=epochs * (len(train) // BATCH), text="")

        def report(loss: float, accuracy: float) -> None:
            progress.update(bar, advance=1, text=f"loss {loss:.4f}  accuracy {accuracy:6.1%}")

        fit(task, train, seed, epochs, report)


def check_program(task: Digits, test: Split, folder: Path) -> str:
    """Build `predict` as a program, run it as a process of its own, and compare; what was found, in words.

    Raises SystemExit where its predictions differ from those of the Python call.
    """
    program, images, result = folder / "digits", folder / "test.npy", folder / "predictions.npy"
    task.predict.build(program, kind="program", batch=len(test))
    np.save(images, test.images)
    subprocess.run([program, images, "-o", result], check=True)
    ours, theirs = task.predict(test.images).numpy(), np.load(result)
    if not np.array_equal(ours.argmax(1), theirs.argmax(1)):
        raise SystemExit("the standalone program predicts other digits than the Python call")
    difference = np.abs(ours - theirs).max()
    size = program.stat().st_size
    return (
        f"{size / 1024:.0f} KiB, same {len(test)} predictions as Python, largest difference {difference:.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    train, test = load()
    task = digits(options.seed)
    fit_with_progress(task, train, options.seed, options.epochs)
    print(
        f"test accuracy {float(task.evaluate(test.images, test.labels)):.2%} on {len(test)} digits never seen"
    )
    with tempfile.TemporaryDirectory() as folder:
        print("standalone program:", check_program(task, test, Path(folder)))
    from digits_speed import compare

    compare(train, test)


if __name__ == "__main__":
    main()
else:  # for the command line: graphc show examples/digits.py:predict
    _task = digits()
    train_step, predict, evaluate = _task.train_step, _task.predict, _task.evaluate
