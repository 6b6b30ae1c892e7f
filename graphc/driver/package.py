"""Packages: compiled functions with their state in one file, and back. Never unpickled, never traced again.

A sealed archive of: the manifest (JSON), for each entry the optimized graph as text, all constants and all Variables'
values (both safetensors), and the files of the backend's programs, of which those that are equal are kept once. What is
read is checked, and errors are PackageErrors.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import from_safetensors, to_safetensors
from ..backends.backend import Divisible, Parts
from ..dataclass import dataclass, replace
from ..errors import PackageError
from ..hook import call_lock
from ..records import from_json, to_json
from ..text import constants_of, print_graph
from ..trees import encode_tree
from ..types import TensorType, type_of
from .archive import read_archive, write_archive
from .names import names_in_common
from .report import Report

if TYPE_CHECKING:
    from .specialization import Specialization

FORMAT, VERSION = "graphc package", 4
MANIFEST, CONSTANTS, VARIABLES = "manifest.json", "constants.safetensors", "variables.safetensors"
FILES = "files/"  # the folder of the programs' files, each called by the SHA-256 of its contents


def graph_member(number: int) -> str:
    """Where the graph of an entry is."""
    return f"graphs/{number}.txt"


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
class Entry:
    """A function for one kind of call. Several may have one name: then they are told apart by the types of arguments.

    `arguments` and `result`: see `trees`; the first is the pair (args, kwargs). `variables`: which of the package's it
    takes, in order. `files`: where the parts of its program are; none where the backend can't take its programs apart.
    """

    name: str
    backend: str
    parameters: tuple[Parameter, ...] | None
    arguments: object
    result: object
    variables: tuple[str, ...]
    files: Mapping[str, str]
    report: Report


@dataclass(frozen=True)
class Manifest:
    """What a package says of itself."""

    graphc: str
    state: tuple[State, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Package:
    """The contents of a file. `graphs`: one for each entry. `values`: of the Variables, by name. `constants`: by the
    name that texts give them. `files`: the programs' files, those that are equal once."""

    manifest: Manifest
    graphs: tuple[str, ...]
    constants: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]
    files: Mapping[str, bytes]

    def parts(self, entry: Entry) -> Parts:
        """The program of an entry, taken apart."""
        return Parts({name: self.files[place] for name, place in entry.files.items()}, self.constants)

    def write(self, path: Path) -> None:
        """Write the file, replacing what is there once it is complete."""
        members = {
            MANIFEST: to_json(self.manifest),
            **{graph_member(number): text.encode() for number, text in enumerate(self.graphs)},
            CONSTANTS: to_safetensors(self.constants),
            VARIABLES: to_safetensors(self.values),
            **{FILES + place: data for place, data in self.files.items()},
        }
        write_archive(path, FORMAT, VERSION, members)

    @staticmethod
    def read(path: Path) -> Package:
        """Read a file. Raises PackageError for one that is no package or damaged, OSError where there is none."""
        members = read_archive(path, FORMAT, VERSION)

        def member(name: str) -> bytes:
            if name not in members:
                raise PackageError(f"{path.name} lacks a part of every package", got=f"no {name}")
            return members[name]

        manifest = from_json(Manifest, member(MANIFEST))
        package = Package(
            manifest,
            tuple(member(graph_member(n)).decode(errors="replace") for n in range(len(manifest.entries))),
            from_safetensors(member(CONSTANTS)),
            from_safetensors(member(VARIABLES)),
            {name.removeprefix(FILES): data for name, data in members.items() if name.startswith(FILES)},
        )
        package._check(path.name)
        return package

    def _check(self, title: str) -> None:
        expected = {s.name: s.type for s in self.manifest.state}
        if len(expected) != len(self.manifest.state) or expected != _types(self.values):
            raise PackageError(f"{title} has other Variables than its manifest lists")
        if not self.manifest.entries:
            raise PackageError(f"{title} holds no function")
        for entry in self.manifest.entries:
            if not expected.keys() >= {*entry.variables} or len({*entry.variables}) != len(entry.variables):
                raise PackageError(f"{entry.name} in {title} takes other Variables than there are")
            if not self.files.keys() >= {*entry.files.values()}:
                raise PackageError(f"{title} lacks a part of the program of {entry.name}")


def _types(arrays: Mapping[str, np.ndarray]) -> dict[str, TensorType]:
    return {name: type_of(array) for name, array in arrays.items()}


def pack(functions: Sequence[tuple[str, Specialization]]) -> Package:
    """The package of named specializations, with the values that their Variables have now. A Variable that several
    take is one Variable.

    Raises UnsupportedError where arguments or results hold more than packages keep.
    """
    names = names_in_common(functions)
    variables = {names[id(v)]: v for _, found in functions for v in found.variables}
    programs = [_parts(found) for _, found in functions]
    with call_lock:
        values = {n: v.storage.array.copy() for n, v in variables.items()}
    entries = tuple(_entry(name, found, names, parts) for (name, found), parts in zip(functions, programs, strict=True))
    graphs = [found.compilation.graph for _, found in functions]
    constants = {name: array for graph in graphs for name, array in constants_of(graph).items()}
    constants |= {name: array for parts in programs for name, array in parts.arrays.items()}
    files = {_place(name, data): data for parts in programs for name, data in parts.files.items()}
    state = tuple(State(n, v.type, v.trainable) for n, v in variables.items())
    return Package(Manifest(_version(), state, entries), tuple(map(print_graph, graphs)), constants, values, files)


def _parts(found: Specialization) -> Parts:
    program = found.compilation.program
    return program.take_apart() if isinstance(program, Divisible) else Parts({}, {})


def _entry(name: str, found: Specialization, names: Mapping[int, str], parts: Parts) -> Entry:
    compilation = found.compilation
    return Entry(
        name,
        compilation.settings.backend,
        _parameters(found.arguments.function),
        encode_tree(found.arguments.example),
        encode_tree(found.result.filled([o.tensor_type for o in compilation.graph.outputs])),
        tuple(names[id(v)] for v in found.variables),
        {name: _place(name, data) for name, data in parts.files.items()},
        _detached(compilation.report()),
    )


def _place(name: str, data: bytes) -> str:
    """Where a file is kept."""
    return hashlib.sha256(data).hexdigest() + Path(name).suffix


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
