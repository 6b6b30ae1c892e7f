"""Packages: a compiled function with its state in one file, and back. Never unpickled, never traced again.

A sealed archive of: the manifest (JSON), the optimized graph as text, its constants and its Variables' values (both
safetensors), and the parts of the backend's program. What is read is checked, and errors are PackageErrors.
"""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .archive import read_archive, write_archive
from .arrays import from_safetensors, to_safetensors
from .backends.backend import Divisible, Parts
from .dataclass import dataclass, replace
from .driver import call_lock
from .errors import PackageError
from .names import variable_names
from .records import from_json, to_json
from .report import Report
from .text import constants_of, print_graph
from .trees import encode_tree
from .types import TensorType, type_of

if TYPE_CHECKING:
    from .specialization import Specialization

FORMAT, VERSION = "graphc package", 3
MANIFEST, GRAPH, CONSTANTS, VARIABLES = "manifest.json", "graph.txt", "constants.safetensors", "variables.safetensors"
PARTS = "program/"  # the folder of the program's parts


@dataclass(frozen=True)
class Parameter:
    """A parameter of the function. `kind`: its name in `inspect`. Defaults are not kept: they are part of the call that
    was compiled."""

    name: str
    kind: str
    has_default: bool


@dataclass(frozen=True)
class State:
    """A Variable of the function; its value is in the file of Variables, under its name."""

    name: str
    type: TensorType
    trainable: bool


@dataclass(frozen=True)
class Manifest:
    """What a package says of itself. `arguments` and `result`: see `trees`; the first is the pair (args, kwargs)."""

    graphc: str
    name: str
    backend: str
    parameters: tuple[Parameter, ...] | None
    arguments: object
    result: object
    state: tuple[State, ...]
    report: Report


@dataclass(frozen=True)
class Package:
    """The contents of a file. `values`: of the Variables, by name. `constants`: by the name that texts give them.
    `files`: the program's parts; none where the backend can't take its programs apart."""

    manifest: Manifest
    graph: str
    constants: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]
    files: Mapping[str, bytes]

    @property
    def parts(self) -> Parts:
        return Parts(self.files, self.constants)

    def write(self, path: Path) -> None:
        """Write the file, replacing what is there once it is complete."""
        members = {
            MANIFEST: to_json(self.manifest),
            GRAPH: self.graph.encode(),
            CONSTANTS: to_safetensors(self.constants),
            VARIABLES: to_safetensors(self.values),
            **{PARTS + name: data for name, data in self.files.items()},
        }
        write_archive(path, FORMAT, VERSION, members)

    @staticmethod
    def read(path: Path) -> Package:
        """Read a file. Raises PackageError for one that is no package or damaged, OSError where there is none."""
        members = read_archive(path, FORMAT, VERSION)
        if missing := [m for m in (MANIFEST, GRAPH, CONSTANTS, VARIABLES) if m not in members]:
            raise PackageError(f"{path.name} lacks a part of every package", got=f"no {', '.join(missing)}")
        files = {name.removeprefix(PARTS): data for name, data in members.items() if name.startswith(PARTS)}
        package = Package(
            from_json(Manifest, members[MANIFEST]),
            members[GRAPH].decode(errors="replace"),
            from_safetensors(members[CONSTANTS]),
            from_safetensors(members[VARIABLES]),
            files,
        )
        expected = {s.name: s.type for s in package.manifest.state}
        if len(expected) != len(package.manifest.state) or expected != _types(package.values):
            raise PackageError(f"{path.name} has other Variables than its manifest lists")
        return package


def _types(arrays: Mapping[str, np.ndarray]) -> dict[str, TensorType]:
    return {name: type_of(array) for name, array in arrays.items()}


def pack(found: Specialization, name: str) -> Package:
    """The package of a specialization, with the values that its Variables have now.

    Raises UnsupportedError where its arguments or its result hold more than packages keep.
    """
    compilation = found.compilation
    graph, program = compilation.graph, compilation.program
    parts = program.take_apart() if isinstance(program, Divisible) else Parts({}, {})
    variables = dict(zip(variable_names(found), found.variables, strict=True))
    with call_lock:
        values = {n: v.storage.array.copy() for n, v in variables.items()}
    manifest = Manifest(
        _version(),
        name,
        compilation.settings.backend,
        _parameters(found.arguments.function),
        encode_tree(found.arguments.example),
        encode_tree(found.result.filled([o.tensor_type for o in graph.outputs])),
        tuple(State(n, v.type, v.trainable) for n, v in variables.items()),
        _detached(compilation.report()),
    )
    return Package(manifest, print_graph(graph), {**constants_of(graph), **parts.arrays}, values, parts.files)


def _parameters(function: Callable[..., Any]) -> tuple[Parameter, ...] | None:
    """The parameters of the function, or None where Python does not know them."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return tuple(Parameter(p.name, p.kind.name, p.default is not p.empty) for p in found)


def _detached(report: Report) -> Report:
    """The report without the folders of users' files."""
    steps = (replace(s, lines=tuple(line.detached for line in s.lines)) for s in report.steps)
    return replace(report, steps=tuple(steps))


def _version() -> str:
    try:
        return importlib.metadata.version("graphc")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        return "not installed"
