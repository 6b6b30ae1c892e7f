"""Barriers stand exactly where a task meets an earlier one on memory that it has not waited for yet."""

from __future__ import annotations

import random

import pytest

from graphc.backends.llvm.link.barriers import Access, barriers
from graphc.schedule import Buffer, Space
from graphc.types import TensorType, uint8


def by_pairs(tasks: list[Access]) -> list[bool]:
    """The same, by comparing each task with all since the last barrier."""

    def overlap(a: Buffer, b: Buffer) -> bool:
        if a.space is b.space and a.space in (Space.ARENA, Space.PREPARED):
            return a.offset < b.offset + b.type.nbytes and b.offset < a.offset + a.type.nbytes
        return a is b

    def waits(task: Access, before: Access) -> bool:
        pairs = [(a, b) for a in before.written for b in task.buffers]
        pairs += [(a, b) for a in before.buffers for b in task.written]
        meets = (task.updates and before.gathers) or any(overlap(a, b) for a, b in pairs)
        return meets and not (task.serial and before.serial)

    result: list[bool] = []
    since: list[Access] = []
    for task in tasks:
        result.append(any(waits(task, before) for before in since))
        since = [task] if result[-1] else [*since, task]
    return result


def random_tasks(seed: int) -> list[Access]:
    random_ = random.Random(seed)
    buffers = [
        Buffer(n, TensorType(uint8, (random_.randint(1, 40),)), random_.choice(list(Space)), n, random_.randint(0, 400))
        for n in range(40)
    ]
    tasks = []
    for _ in range(60):
        used = random_.sample(buffers, random_.randint(1, 4))
        written = used[: random_.randint(0, 1)]
        tasks.append(Access(tuple(used), tuple(written), random_.random() < 0.4, random_.random() < 0.05))
    return tasks


@pytest.mark.parametrize("seed", range(40))
def test_as_by_pairs(seed: int) -> None:
    tasks = random_tasks(seed)
    assert barriers(tasks) == by_pairs(tasks)
