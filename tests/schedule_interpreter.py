"""Runs a `Schedule` with the NumPy kernel interpreter, on one byte array as the arena: the oracle for fusion,
memory planning, updates in place, loops and branches. Fresh bytes of the arena and of outputs hold garbage, so that
reading what was never written shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.kernel import Slot
from graphc.schedule import BranchStep, CallStep, KernelStep, LoopStep, Schedule, Space, Step
from graphc.storage import Storage
from tests.kernel_interpreter import run_kernel


def run_schedule(
    schedule: Schedule, inputs: Sequence[np.ndarray], variables: Sequence[Storage] = ()
) -> list[np.ndarray]:
    """The outputs; variables are updated in place."""
    run = _Run(schedule, inputs, variables)
    for step in (*schedule.prepare, *schedule.steps):
        run.step(step)
    return run.outputs


class _Run:
    def __init__(self, schedule: Schedule, inputs: Sequence[np.ndarray], variables: Sequence[Storage]) -> None:
        rng = np.random.default_rng(0)
        self.buffers = schedule.buffers
        self.outputs = [
            rng.integers(0, 256, b.type.nbytes, np.uint8).view(b.type.dtype.numpy).reshape(b.type.shape)
            for b in schedule.in_space(Space.OUTPUT)
        ]
        arena, prepared = (rng.integers(0, 256, n, np.uint8) for n in (schedule.arena_bytes, schedule.prepared_bytes))
        # Each buffer's memory and the byte at which it starts there: what the table of addresses is to native code.
        self.places: list[tuple[np.ndarray, int]] = []
        for b in self.buffers:
            array: np.ndarray
            match b.space:
                case Space.INPUT:
                    array = inputs[b.position]
                case Space.VARIABLE:
                    array = variables[b.position].array
                case Space.CONSTANT:
                    array = schedule.constants[b.position].array
                case Space.OUTPUT:
                    array = self.outputs[b.position]
                case Space.ARENA:
                    array = arena
                case Space.PREPARED:
                    array = prepared
                case Space.WINDOW:
                    array = np.zeros(0, np.uint8)
            self.places.append((array.reshape(-1).view(np.uint8), b.offset))

    def memory(self, number: int) -> np.ndarray:
        (memory, start), buffer = self.places[number], self.buffers[number]
        assert start >= 0 and start + buffer.type.nbytes <= memory.size, f"{buffer} lies outside"
        return memory[start : start + buffer.type.nbytes].view(buffer.type.dtype.numpy)

    def slots(self, slots: Sequence[Slot], buffers: Sequence[int]) -> list[np.ndarray]:
        """What each slot sees; a buffer may have room for more."""
        return [self.memory(b)[: slot.size] for slot, b in zip(slots, buffers, strict=True)]

    def step(self, step: Step) -> None:
        match step:
            case KernelStep():
                assert run_kernel(step.kernel, self.slots(step.kernel.slots, step.buffers))
            case CallStep():
                step.call.run(self.slots(step.call.slots, step.buffers))
            case LoopStep():
                self.loop(step)
            case BranchStep():
                chosen = int(self.memory(step.index)[0])
                self.block(step.arms[max(0, min(chosen, len(step.arms) - 1))])

    def block(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self.step(step)

    def loop(self, step: LoopStep) -> None:
        count = step.length
        if step.limit is not None:
            assert count is not None
            count = max(0, min(count, int(self.memory(step.limit)[0])))
        for w in step.windows:
            memory, start = self.places[w.of]
            self.places[w.buffer] = memory, start + w.offset + (-w.stride * ((count or 0) - 1) if w.stride < 0 else 0)
        self.block(step.start)
        done = 0
        while count is None or done < count:
            if step.predicate is not None:
                self.block(step.condition)
                if not self.memory(step.predicate)[0]:
                    break
            self.block(step.body)
            for w in step.windows:
                memory, start = self.places[w.buffer]
                self.places[w.buffer] = memory, start + w.stride
            for a, b in step.swaps:
                self.places[a], self.places[b] = self.places[b], self.places[a]
            done += 1
        if step.counter is not None:
            self.memory(step.counter)[0] = done
