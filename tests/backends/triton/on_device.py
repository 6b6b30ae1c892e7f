"""Runs what a kernel or call became on any device of Triton's, on NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.backends.triton.backend import TritonDevice
from graphc.backends.triton.control import BoundLaunch, Memory, Region
from graphc.backends.triton.launches import KernelSource, Parameter, Role
from graphc.backends.triton.program import DeviceProgram, SourceModule, scratch_places


def run_source(source: KernelSource, arrays: Sequence[np.ndarray], device: TritonDevice) -> bool:
    """Carry it out on flat arrays, one for each slot, which are changed in place; scratch memory begins as garbage.

    Returns whether every gathered index was inside its axis."""
    starts, end = scratch_places(source)
    contents = [*arrays, np.full(end, 255, np.uint8), np.zeros(1, np.int32)]
    scratch, status = len(arrays), len(arrays) + 1

    def place(parameter: Parameter) -> Region:
        match parameter.memory:
            case Role.SLOT:
                return Region(parameter.number, 0, parameter.dtype)
            case Role.SCRATCH:
                return Region(scratch, starts[parameter.number], parameter.dtype)
            case Role.STATUS:
                return Region(status, 0, parameter.dtype)

    launches = tuple(BoundLaunch(0, x, tuple(map(place, x.parameters))) for x in source.launches)
    sizes = tuple(a.nbytes for a in contents)
    program = DeviceProgram(
        (SourceModule(source, frozenset()),), (), launches, (), frozenset(), sizes, {}, status, ()
    )  # fmt: skip
    blocks = [device.allocate(max(1, size)) for size in sizes]
    memory = Memory(device, device.load(program), blocks)
    for region, array in enumerate(contents):
        memory.write(region, array)
    memory.run(launches)
    for region, array in enumerate(contents):
        memory.read(region, array)
    return not contents[status][0]
