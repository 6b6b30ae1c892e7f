"""A built program from its parts.

What is read may be damaged or made up: every number in it is checked before a pointer is made of it. The object files
are machine code, and are what they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graphc.backends.backend import Parts, Signature
from graphc.errors import PackageError, UnsupportedError
from graphc.records import from_json

from ..link.tables import BuiltProgram
from ..native import NativeProgram
from ..target import Target
from .checks import check_program, require
from .parts import OBJECT, TABLES, Tables, abi, digest


def put_together(parts: Parts, host: Target, signature: Signature) -> BuiltProgram:
    """The program of these parts, to run on this machine.

    Raises UnsupportedError for code that needs another machine or runtime, PackageError for parts that are no whole.
    """
    if TABLES not in parts.files:
        raise PackageError("a program has its tables", got=", ".join(parts.files) or "nothing")
    tables = from_json(Tables, parts.files[TABLES])
    _check_machine(tables, host)
    objects = {n.removesuffix(OBJECT): code for n, code in parts.files.items() if n.endswith(OBJECT)}
    found = {name: digest(code) for name, code in objects.items()}
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
    if tables.abi != abi(host.triple):
        raise UnsupportedError("the code is for another version of graphc's runtime")


def _features(text: str) -> set[str]:
    return {f[1:] for f in text.split(",") if f.startswith("+")}


def _constants(tables: Tables, arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    missing = [name for name in tables.constants if name not in arrays]
    require(not missing, "every constant is there")
    return tuple(arrays[name] for name in tables.constants)
