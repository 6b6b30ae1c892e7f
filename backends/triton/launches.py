"""What carrying out a kernel takes: a module of Triton source, and calls of its functions on pointers."""

from __future__ import annotations

from enum import Enum

from graphc.dataclass import dataclass
from graphc.kernel import Slot
from graphc.types import DType


class Role(Enum):
    """What a launch's parameter points to."""

    SLOT = "slot"  # the kernel's slot of that number
    SCRATCH = "scratch"  # scratch memory of the kernel, contents undefined
    STATUS = "status"  # one int32, set to 1 where a gathered index was bad


@dataclass(frozen=True)
class Parameter:
    """One pointer that a device function takes."""

    memory: Role
    number: int
    dtype: DType


@dataclass(frozen=True)
class Launch:
    """A call of a device function by `programs` programs."""

    function: str
    parameters: tuple[Parameter, ...]
    programs: int
    warps: int
    stages: int


@dataclass(frozen=True)
class KernelSource:
    """A kernel's Triton module, its launches in order, and the scratch memory they share."""

    text: str
    launches: tuple[Launch, ...]
    scratch: tuple[Slot, ...]
