"""What a backend is: it builds a program from what it asks for, and a program bound to variables can be called.

In: an optimized `Graph`, or a `Schedule`. Out: functions on arrays. A backend never changes what a graph means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from graphc.devices import Device
from graphc.ir import Graph
from graphc.kernel import Kernel
from graphc.schedule import Schedule
from graphc.settings import Settings
from graphc.storage import Storage
from graphc.types import TensorType


class Level(Enum):
    """How far down a program is lowered before a backend takes it."""

    GRAPH = "graph"
    SCHEDULE = "schedule"


class BoundProgram(Protocol):
    """A program with its variables' memory."""

    def __call__(self, arrays: Sequence[Any]) -> Sequence[Any]:
        """Run once. `arrays` are contiguous and of exactly the types of the graph's inputs, and only read.

        The outputs are fresh arrays that belong to the caller. The variables' storages are updated in place, all
        after the last read of an old value, and their versions rise. Raises GraphcIndexError for an index outside
        its axis; then no storage has changed.
        """
        ...


@runtime_checkable
class OnDevice(Protocol):
    """A bound program that works in the memory of a device. It takes arrays and storages, and gives storages; the new
    contents of the variables stay there, too, until someone reads them."""

    @property
    def device(self) -> Device: ...


class Program(Protocol):
    """A built program, independent of any variable's memory: several instances can be bound."""

    def bind(self, variables: Sequence[Storage]) -> BoundProgram:
        """Attach storages, one for each variable of the graph, in order."""
        ...

    @property
    def lowered(self) -> Mapping[Any, Lowering]:
        """How each kernel and each call was lowered, as far as there is something to say."""
        ...


@runtime_checkable
class ObjectCalls(Protocol):
    """A bound program that finds out by itself, and sooner than Python could, whether it was given what it takes."""

    def try_call(self, objects: Sequence[object]) -> list[np.ndarray] | None:
        """As a call, if all objects are arrays of exactly the inputs' types, C-contiguous and aligned.

        None, and nothing has happened, if they are not; also for reasons that a call would see to.
        """
        ...


@runtime_checkable
class Timed(Protocol):
    """A bound program that can measure its steps one by one."""

    def step_seconds(self, arrays: Sequence[np.ndarray], seconds: float, *, flush: bool = False) -> list[float]:
        """Seconds of each step of the schedule, by itself, measured for about so many seconds in all. Variables change
        as by many calls. `flush`: as if subnormal numbers were 0, whatever the settings say."""
        ...


@runtime_checkable
class Linkable(Protocol):
    """A program that can leave the process."""

    def link(self, path: Path, variables: Sequence[np.ndarray], outputs: Sequence[str]) -> None:
        """Write an executable file that needs no Python. `variables`: the values it starts with, in order. `outputs`:
        what to call them, in order."""
        ...


class Parts(NamedTuple):
    """A program that has left its process: files by name, and the arrays that they name."""

    files: Mapping[str, bytes]
    arrays: Mapping[str, np.ndarray]


class Signature(NamedTuple):
    """What a bound program is given and gives."""

    inputs: tuple[TensorType, ...]
    variables: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]

    @staticmethod
    def of(graph: Graph) -> Signature:
        return Signature(*(tuple(n.tensor_type for n in x) for x in (graph.inputs, graph.variables, graph.outputs)))


@runtime_checkable
class Divisible(Protocol):
    """A program that can be kept in a package."""

    def take_apart(self) -> Parts:
        """The parts, which say nothing of the folders that users' files lie in."""
        ...


@runtime_checkable
class Assembler(Protocol):
    """A backend that takes the parts of a program without compiling anything."""

    def put_together(self, parts: Parts, signature: Signature, settings: Settings) -> Program:
        """Raises UnsupportedError that says why this machine can't run the program, PackageError for parts that are
        damaged."""
        ...


@runtime_checkable
class Beginner(Protocol):
    """A backend that has something to do once in each process."""

    def begin(self, settings: Settings) -> None:
        """Begin with it, beside what the caller does next. Called once, when it is certain that a program will run."""
        ...


@runtime_checkable
class ProgramCache(Protocol):
    """A backend that keeps programs between processes."""

    def keep(self, key: str, program: Program, settings: Settings) -> None:
        """Keep a program of this backend under a key, if there is where."""
        ...

    def load(self, key: str, signature: Signature, settings: Settings) -> Program | None:
        """What was kept under the key for a machine and a version of graphc like these, or None."""
        ...


class Lowering(NamedTuple):
    """For people: the plan of each function a kernel became, and what is slow about them."""

    plans: tuple[str, ...]
    notes: tuple[str, ...]


class Backend(Protocol):
    """A way to run programs."""

    @property
    def name(self) -> str: ...

    @property
    def level(self) -> Level:
        """Whether `build` takes a Graph or a Schedule."""
        ...

    def build(self, lowered: Graph | Schedule, settings: Settings) -> Program:
        """Raises UnsupportedError, which names what, the backend and the reason, for what it can't do."""
        ...

    def refuses(self, kernel: Kernel) -> str:
        """Why it has no lowering of a kernel of kind ATTENTION; empty where it has one. Asked while kernels are cut:
        what is refused is cut into several kernels, or scores are stored."""
        ...
