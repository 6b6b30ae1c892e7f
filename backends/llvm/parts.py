"""A built program as files, and back: tables as JSON, one object file for each kernel, constants by name.

In: a `BuiltProgram` and its target, or the parts of one. What is read may be damaged or made up: every number in it is
checked before a pointer is made of it. The object files are machine code, and are what they are.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from functools import lru_cache

import numpy as np

from graphc.arrays import from_safetensors, to_safetensors
from graphc.backends.backend import Parts, Signature
from graphc.dataclass import dataclass
from graphc.errors import PackageError, UnsupportedError
from graphc.ir import Literal
from graphc.records import from_json, to_json
from graphc.schedule import LARGEST, Buffer, Space
from graphc.storage import ALIGNMENT
from graphc.text import constant_name
from graphc.types import type_of

from .build import BuiltProgram, Origin
from .native import Function, NativeProgram, TaskSpec, Use
from .runtime import runtime_ir
from .target import Target

TABLES = "tables.json"
OBJECT = ".o"


@dataclass(frozen=True)
class Tables:
    """A built program without its code and its constants. `abi`: of the runtime that it runs on."""

    abi: str
    triple: str
    cpu: str
    features: str
    tasks: tuple[TaskSpec, ...]
    prepare: tuple[TaskSpec, ...]
    buffers: tuple[Buffer, ...]
    arena_bytes: int
    prepared_bytes: int
    constants: tuple[str, ...]
    sequential: bool
    interruptible: int
    origins: tuple[Origin, ...]
    prepare_origins: tuple[Origin, ...]
    updated: tuple[int, ...]
    functions: Mapping[str, Function]
    digests: Mapping[str, str]  # SHA-256 of each object file


def take_apart(built: BuiltProgram, target: Target) -> Parts:
    """The parts of a program for that target."""
    native = built.native
    literals = [Literal(array) for array in native.constants]
    tables = Tables(
        _abi(target.triple),
        *target.key,
        native.tasks,
        native.prepare,
        native.buffers,
        native.arena_bytes,
        native.prepared_bytes,
        tuple(map(constant_name, literals)),
        native.sequential,
        native.interruptible,
        built.origins,
        built.prepare_origins,
        built.updated,
        native.functions,
        {name: _digest(code) for name, code in native.objects.items()},
    )
    objects = {name + OBJECT: code for name, code in native.objects.items()}
    return Parts({TABLES: to_json(tables), **objects}, {constant_name(x): x.array for x in literals})


def to_bytes(parts: Parts) -> bytes:
    """All parts in one string: a line that lists the sizes, then the files, then the arrays."""
    arrays = to_safetensors(parts.arrays) if parts.arrays else b""
    sizes = {name: len(data) for name, data in parts.files.items()}
    return b"".join([json.dumps(sizes).encode(), b"\n", *parts.files.values(), arrays])


def from_bytes(data: bytes) -> Parts:
    """The parts in a string that `to_bytes` made."""
    line, _, rest = data.partition(b"\n")
    files = {}
    for name, size in json.loads(line).items():
        files[name], rest = rest[:size], rest[size:]
    return Parts(files, from_safetensors(rest) if rest else {})


def put_together(parts: Parts, host: Target, signature: Signature) -> BuiltProgram:
    """The program of these parts, to run on this machine.

    Raises UnsupportedError for code that needs another machine or runtime, PackageError for parts that are no whole.
    """
    if TABLES not in parts.files:
        raise PackageError("a program has its tables", got=", ".join(parts.files) or "nothing")
    tables = from_json(Tables, parts.files[TABLES])
    _check_machine(tables, host)
    objects = {n.removesuffix(OBJECT): code for n, code in parts.files.items() if n.endswith(OBJECT)}
    found = {name: _digest(code) for name, code in objects.items()}
    _require(found == tables.digests, "the object files are those that it was made with")
    native = NativeProgram(
        objects,
        tables.tasks,
        tables.prepare,
        tables.buffers,
        tables.arena_bytes,
        tables.prepared_bytes,
        _constants(tables, parts.arrays),
        tables.sequential,
        tables.interruptible,
        tables.functions,
    )
    _check_buffers(native)
    _check_signature(native, signature)
    _require(set(tables.updated) <= set(range(len(signature.variables))), "only variables are updated")
    for task in native.prepare:
        _check_task(task, native, PREPARED_WRITES, PREPARED_READS)
    updated = {b.number for b in native.in_space(Space.VARIABLE) if b.position in tables.updated}
    for task in native.tasks:
        _check_task(task, native, WRITES, frozenset(Space), updated)
    counts = len(tables.origins), len(tables.prepare_origins)
    _require(counts == (len(native.tasks), len(native.prepare)), "every task has an origin")
    return BuiltProgram(native, tables.origins, tables.prepare_origins, tables.updated)


def _check_machine(tables: Tables, host: Target) -> None:
    """Whether the host can run the code: the same kind of processor, with every feature that the code may use."""
    if tables.triple != host.triple:
        raise UnsupportedError(f"the code is for {tables.triple}", got=host.triple)
    lacking = _features(tables.features) - _features(host.features)
    if lacking:
        raise UnsupportedError(
            f"the code is for a processor like {tables.cpu}", got=f"{host.cpu}, without {', '.join(sorted(lacking))}"
        )
    if tables.abi != _abi(host.triple):
        raise UnsupportedError("the code is for another version of graphc's runtime")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _features(text: str) -> set[str]:
    return {f[1:] for f in text.split(",") if f.startswith("+")}


@lru_cache(maxsize=8)
def _abi(triple: str) -> str:
    """Changes with all that kernels and the runtime share: the runtime's own text."""
    return hashlib.sha256(runtime_ir(triple).encode()).hexdigest()


def _constants(tables: Tables, arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    missing = [name for name in tables.constants if name not in arrays]
    _require(not missing, "every constant is there")
    return tuple(arrays[name] for name in tables.constants)


def _check_buffers(native: NativeProgram) -> None:
    """Buffers are numbered by their places in the table, have sizes that are sizes, and lie inside planned memory."""
    for number, b in enumerate(native.buffers):
        _require(b.number == number, "buffers are numbered in order")
        _require(all(0 <= s <= LARGEST for s in b.type.shape) and b.type.nbytes <= LARGEST, "sizes are sizes")
        _require(b.offset >= 0 and b.offset % ALIGNMENT == 0, "offsets are aligned")
    for space, size in ((Space.ARENA, native.arena_bytes), (Space.PREPARED, native.prepared_bytes)):
        ends = [b.offset + b.type.nbytes for b in native.in_space(space)]
        end = max(ends, default=0)
        _require(0 <= end <= size <= min(end + ALIGNMENT, LARGEST), f"the {space.value} is as large as its buffers")


def _check_signature(native: NativeProgram, signature: Signature) -> None:
    """Whether the program's buffers are what its callers will give it."""
    given = {
        Space.INPUT: signature.inputs,
        Space.VARIABLE: signature.variables,
        Space.OUTPUT: signature.outputs,
        Space.CONSTANT: tuple(map(type_of, native.constants)),
    }
    for space, types in given.items():
        found = native.in_space(space)
        _require([b.position for b in found] == list(range(len(types))), f"every {space.value} has a buffer")
        _require(all(b.type == t for b, t in zip(found, types, strict=True)), f"every {space.value} has its type")


SYMBOL = re.compile(r"kernel_[0-9a-f]{16}\w*")  # no function of the process's own, and no surprise for the linker
SCRATCH = frozenset({Space.ARENA, Space.PREPARED})
WRITES = frozenset({Space.ARENA, Space.OUTPUT})
PREPARED_WRITES = SCRATCH
PREPARED_READS = SCRATCH | {Space.CONSTANT, Space.VARIABLE}  # what is there without a call


def _check_task(
    task: TaskSpec,
    native: NativeProgram,
    writes: frozenset[Space],
    reads: frozenset[Space],
    updated: Collection[int] = (),
) -> None:
    """Whether a task gives its function what that needs: all that it may touch lies inside buffers that are its own."""
    _require(SYMBOL.fullmatch(task.symbol) is not None and task.symbol in native.functions, "tasks call kernels")
    function = native.functions[task.symbol]
    _require(task.units == function.units, "tasks do the work of their functions")
    sizes = {len(task.slots), len(function.nbytes), len(function.uses)}
    _require(len(sizes) == 1, "tasks have the slots of their functions")
    for number, nbytes, use in zip(task.slots, function.nbytes, function.uses, strict=True):
        _require(0 <= number < len(native.buffers), "tasks use buffers that exist")
        buffer = native.buffers[number]
        _require(nbytes <= buffer.type.nbytes, "buffers hold what functions want in them")
        match use:
            case Use.READ:
                allowed = buffer.space in reads
            case Use.WRITE:
                allowed = buffer.space in writes or number in updated
            case Use.SCRATCH:
                allowed = buffer.space in SCRATCH
        _require(allowed, "tasks write only what is theirs")


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise PackageError(f"the tables of the program are damaged: {rule}")
