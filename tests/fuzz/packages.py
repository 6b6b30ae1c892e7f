"""Packages that were changed and sealed again: what is loaded of them runs or is refused, and never ends the process.

Run as a program, it works through a range of seeds in one process, and prints each before it begins; whoever started it
learns from the last line which mutant has ended the process.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import graphc as gx
from graphc import nn, optim
from graphc.driver.archive import read_archive, write_archive
from graphc.driver.package import FORMAT, VERSION

NUMBERS = [0, 1, -1, 2, 3, 7, 63, 64, 255, 1 << 16, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 40, 1 << 46, (1 << 46) + 64,
           1 << 62, (1 << 63) - 1, 1 << 63, 1 << 64, -(1 << 31), -(1 << 63), 10**30, 0.5, -0.0, 1e308]  # fmt: skip
STRINGS = ["", "\0", "a\0b", "abort", "kernel_0123456789abcdef", "x" * 300, "é\U0001f600", "..", "/", "read", "write",
           "scratch", "input", "output", "variable", "constant", "arena", "prepared", "float64", "bool", "__metadata__",
           "POSITIONAL_ONLY", "VAR_KEYWORD", "class"]  # fmt: skip
OTHERS: list[Any] = [None, True, False, [], {}, [[]], "0", {"array": ["float32", 1 << 40]}]


def functions() -> dict[str, tuple[Any, list[Any]]]:
    """What is packed: loops and branches,
    prepared work, gathers, windows, updates in place, several kernels, constants, random numbers."""
    gx.random.seed(0)
    w = gx.Variable(np.random.default_rng(0).standard_normal((24, 24)).astype(np.float32))
    table = gx.Variable(np.arange(12, dtype=np.float32))
    model = nn.Sequential(nn.Linear(6, 8), nn.relu, nn.Dropout(0.5), nn.Linear(8, 3))
    optimizer = optim.Adam(model, lr=1e-2)

    def predict(x: Any) -> Any:
        return nn.softmax(x @ gx.exp(w) + np.arange(24, dtype=np.float32)), gx.sum(x, axis=0)

    def gather(i: Any, scale: float = 2.0) -> Any:
        return {"y": gx.take(table, i) * scale, "i": i}

    def unrolled(x: Any) -> Any:
        h = gx.zeros((3, 24))
        for t in range(4):
            h = gx.tanh(x[t] @ w + h)
        return h

    def step(x: Any, y: Any) -> Any:
        loss = nn.cross_entropy(model(x), y)
        optimizer.minimize(loss)
        return loss

    def loops(h: Any, x: Any, n: Any) -> Any:
        h, ys = gx.scan(lambda h, x: ((h := gx.tanh(h @ w + x)), gx.sum(h)), h, x, reverse=True)
        arms = [lambda h: h, lambda h: h * 2, lambda h: gx.take(table, gx.astype(h, "int32")) + h[:1]]
        h = gx.switch(n, arms, h)
        return h, ys, gx.while_loop(lambda c: c < n * 3, lambda c: c + 1, n, max_steps=50)

    return {
        "loops": (loops, [np.zeros(24, np.float32), np.ones((5, 24), np.float32), np.array(1, np.int32)]),
        "predict": (predict, [np.ones((5, 24), np.float32)]),
        "gather": (gather, [np.array([0, 3, 11])]),
        "unrolled": (unrolled, [np.ones((4, 3, 24), np.float32)]),
        "step": (step, [np.ones((4, 6), np.float32), np.array([0, 1, 2, 0])]),
    }


def packages(folder: Path) -> list[tuple[dict[str, bytes], list[np.ndarray]]]:
    """The members of each package, and what to call it with."""
    found = []
    for name, (function, arguments) in functions().items():
        path = folder / name
        gx.compile(function, backend="llvm").build(path, kind="package", inputs=arguments)
        found.append((read_archive(path, FORMAT, VERSION), arguments))
    made = {
        name: gx.compile(function, backend="llvm", inputs=[gx.spec(x.shape, str(x.dtype)) for x in arguments])
        for name, (function, arguments) in functions().items()
    }
    gx.build(folder / "several", made)
    found.append((read_archive(folder / "several", FORMAT, VERSION), functions()["step"][1]))
    return found


def mutant(members: dict[str, bytes], random: random.Random) -> dict[str, bytes]:
    """A copy with a change or two somewhere."""
    changed = dict(members)
    for _ in range(random.choice((1, 1, 1, 2))):
        names = list(changed)  # mostly the tables: whatever becomes of an object file, its digest tells
        name = random.choices(names, [8 if n.endswith(".json") else 4 if n.endswith(".txt") else 1 for n in names])[0]
        if name.endswith(".json"):
            value = json.loads(changed[name])
            _change(value, random)
            changed[name] = json.dumps(value).encode()
        else:
            changed[name] = random.choice(WAYS)(changed[name], random)
        if random.random() < 0.02:
            del changed[random.choice(list(changed))]
    return changed


def _change(value: Any, random: random.Random) -> None:
    """Change one place in a JSON value."""
    places = list(_places(value))
    if not places:
        return
    owner, key = random.choice(places)
    old = owner[key]
    way = random.random()
    if way < 0.1 and isinstance(owner, list):
        owner.insert(key, old) if way < 0.05 else owner.pop(key)
    elif way < 0.15:
        other, place = random.choice(places)
        owner[key] = other[place] if not isinstance(other[place], dict | list) else None
    elif way < 0.2:
        owner[key] = random.choice(OTHERS)
    elif isinstance(old, bool):
        owner[key] = not old
    elif isinstance(old, int | float):
        near = [old + 1, old - 1, old * 2, old // 2 if isinstance(old, int) else old / 2, -old]
        owner[key] = random.choice(NUMBERS + 3 * near)
    elif isinstance(old, str):
        owner[key] = random.choice([*STRINGS, old[:-1], old + "0", old.upper()])
    else:
        owner[key] = random.choice(OTHERS)


def _places(value: Any) -> Any:
    """(owner, key) of everything inside."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _places(item)


def _flip(data: bytes, random: random.Random) -> bytes:
    if not data:
        return b"\0"
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def _cut(data: bytes, random: random.Random) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _swap(data: bytes, random: random.Random) -> bytes:
    """Another number in a text, or bytes from elsewhere."""
    if not data:
        return b"{}"
    at, source = random.randrange(len(data)), random.randrange(len(data))
    size = random.randrange(1, 9)
    return data[:at] + data[source : source + size] + data[at + size :]


def _number(data: bytes, random: random.Random) -> bytes:
    digits = [i for i, b in enumerate(data[:20000]) if 48 <= b <= 57]
    if not digits:
        return data + b"9"
    at = random.choice(digits)
    return data[:at] + str(random.choice(NUMBERS)).encode() + data[at + 1 :]


WAYS: list[Callable[[bytes, random.Random], bytes]] = [_flip, _flip, _cut, _swap, _number]


def meet(members: dict[str, bytes], arguments: list[np.ndarray], path: Path) -> str:
    """Load and call it. What happened, in a word; raises what is no clean error."""
    write_archive(path, FORMAT, VERSION, members)
    try:
        loaded = gx.load(path)
        if len(loaded) > 1:
            loaded = loaded["step"]
        repr(loaded), str(loaded.report())
        loaded(*arguments)
        loaded(*arguments)
        str(loaded.graph())
    except (gx.GraphcError, OSError, MemoryError):
        return "refused"
    return "ran"


def main(first: int, last: int) -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        made = packages(Path(folder))
        for seed in range(first, last):
            print(seed, flush=True)
            chance = random.Random(seed)
            members, arguments = made[seed % len(made)]
            try:
                meet(mutant(members, chance), arguments, Path(folder) / "mutant")
            except Exception as error:
                print(f"{seed} {type(error).__name__}: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
