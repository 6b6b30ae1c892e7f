"""Runs a `Schedule` with the NumPy kernel interpreter, on one byte array as the arena: the oracle for fusion,
memory planning and updates in place. Fresh arena bytes hold garbage, so that reading what was never written shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.schedule import Buffer, Schedule, ScheduleStep, Space
from graphc.storage import Storage
from tests.kernel_interpreter import run_kernel


def run_schedule(
    schedule: Schedule, inputs: Sequence[np.ndarray], variables: Sequence[Storage] = ()
) -> list[np.ndarray]:
    """The outputs; variables are updated in place."""
    rng = np.random.default_rng(0)
    arena = rng.integers(0, 256, schedule.arena_bytes, np.uint8)
    prepared = rng.integers(0, 256, schedule.prepared_bytes, np.uint8)
    outputs = [np.zeros(b.type.shape, b.type.dtype.numpy) for b in schedule.in_space(Space.OUTPUT)]

    def memory(buffer: Buffer) -> np.ndarray:
        match buffer.space:
            case Space.INPUT:
                array = inputs[buffer.position]
            case Space.VARIABLE:
                array = variables[buffer.position].array
            case Space.CONSTANT:
                array = schedule.constants[buffer.position].array
            case Space.OUTPUT:
                array = outputs[buffer.position]
            case Space.ARENA | Space.PREPARED:
                base = arena if buffer.space is Space.ARENA else prepared
                array = base[buffer.offset : buffer.offset + buffer.type.nbytes].view(buffer.type.dtype.numpy)
        return array.reshape(-1)

    def run(step: ScheduleStep) -> None:
        assert run_kernel(step.kernel, [memory(schedule.buffers[b]) for b in step.buffers])

    for step in (*schedule.prepare, *schedule.steps):
        run(step)
    return outputs
