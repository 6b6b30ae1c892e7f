"""A built program as files: tables as JSON, one object file for each kernel, constants by name.

In: a `BuiltProgram` and its target. Out: its parts, from which `assembly` makes it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache

from graphc.arrays import from_safetensors, to_safetensors
from graphc.backends.backend import Parts
from graphc.dataclass import dataclass
from graphc.ir import Literal
from graphc.records import to_json
from graphc.schedule import Buffer
from graphc.text import constant_name

from ..link.tables import BuiltProgram, Origin
from ..native import Function, Table
from ..run.runtime import runtime_ir
from ..target import Target

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
        abi(target.triple),
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
        {name: digest(code) for name, code in native.objects.items()},
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


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@lru_cache(maxsize=8)
def abi(triple: str) -> str:
    """Changes with all that kernels and the runtime share: the runtime's own text."""
    return hashlib.sha256(runtime_ir(triple).encode()).hexdigest()
