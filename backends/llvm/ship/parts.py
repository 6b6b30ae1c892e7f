"""A built program as files, and back: tables as JSON, one object file for each kernel, constants by name.

In: a `BuiltProgram` and its target, or the parts of one. What is read may be damaged or made up: every number in it is
checked before a pointer is made of it. The object files are machine code, and are what they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from graphc.arrays import from_safetensors, to_safetensors
from graphc.backends.backend import Parts, Signature
from graphc.dataclass import dataclass
from graphc.errors import PackageError, UnsupportedError
from graphc.ir import Literal
from graphc.records import from_json, to_json
from graphc.schedule import Buffer
from graphc.text import constant_name

from ..link.tables import BuiltProgram, Origin
from ..native import Function, NativeProgram, Table
from ..run.runtime import runtime_ir
from ..target import Target
from .checks import check_program, require

TABLES = "tables.json"
OBJECT = ".o"


@dataclass(frozen=True)
class Tables:
    """A built program without its code and its constants. `abi`: of the runtime that it runs on."""

    abi: str
    triple: str
    cpu: str
    features: str
    main: Table
    prepare: Table
    buffers: tuple[Buffer, ...]
    arena_bytes: int
    prepared_bytes: int
    constants: tuple[str, ...]
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
        native.main,
        native.prepare,
        native.buffers,
        native.arena_bytes,
        native.prepared_bytes,
        tuple(map(constant_name, literals)),
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
    require(found == tables.digests, "the object files are those that it was made with")
    native = NativeProgram(
        objects,
        tables.main,
        tables.prepare,
        tables.buffers,
        tables.arena_bytes,
        tables.prepared_bytes,
        _constants(tables, parts.arrays),
        tables.interruptible,
        tables.functions,
    )
    require(set(tables.updated) <= set(range(len(signature.variables))), "only variables are updated")
    check_program(native, signature, tables.updated)
    counts = len(tables.origins), len(tables.prepare_origins)
    require(counts == (len(native.main.tasks), len(native.prepare.tasks)), "every task has an origin")
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
    require(not missing, "every constant is there")
    return tuple(arrays[name] for name in tables.constants)
