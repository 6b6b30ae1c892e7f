"""Compiled functions as files: specializations in; a standalone program, or a package, on disk out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

from ..backends.backend import Linkable
from ..brief import brief
from ..errors import OptionError, ShapeError, TraceError, UnsupportedError
from ..frontend import pytree
from ..frontend.arguments import parameter_count
from ..frontend.guards import Attribute
from ..frontend.location import stack_level
from ..frontend.spec import Spec, fixed_size, spec
from ..hook import call_lock
from .specialization import Specialization, Traceable


class ArtifactKind(Enum):
    """What can be built."""

    PROGRAM = "program"  # an executable file: arrays as .npy files in, arrays out
    LIBRARY = "library"  # a shared library with a C header
    PACKAGE = "package"  # what `gx.load` opens


SIZE = "a size is a whole number ≥ 0"


def fix_sizes(inputs: Sequence[Any], batch: int | None, sizes: Mapping[str, int]) -> list[Any]:
    """The inputs with every size of their specs fixed.

    Raises ShapeError that lists the sizes that are still open, or that are given but in no spec, and for one that is no
    number.
    """
    known = known_sizes(batch, sizes)
    found = open_sizes(inputs)
    if unknown := [s for s in known if s not in found]:
        raise ShapeError("a size is given that no input leaves open", got=f"{_named(unknown)}, with {_specs(inputs)}")
    return with_sizes(inputs, known)


def known_sizes(batch: int | None, sizes: Mapping[str, int]) -> dict[str | None, int]:
    """The sizes that are given, by name, that of the batch by None."""
    if not isinstance(sizes, Mapping):
        raise ShapeError('sizes are given by name, as in sizes={"time": 10}', got=brief(sizes))
    given: dict[str | None, int] = {} if batch is None else {None: batch}
    given.update(sizes)
    return {name: fixed_size(size, SIZE) for name, size in given.items()}


def open_sizes(inputs: Sequence[Any]) -> list[str | None]:
    """The sizes that specs leave open, each once."""
    leaves = pytree.leaves(list(inputs))
    return list(dict.fromkeys(s for leaf in leaves if isinstance(leaf, Spec) for s in leaf.open_sizes))


def with_sizes(inputs: Sequence[Any], known: Mapping[str | None, int]) -> list[Any]:
    """The inputs with all sizes known. Raises ShapeError that lists those that are not."""
    if missing := [s for s in open_sizes(inputs) if s not in known]:
        raise ShapeError(
            "every size must be fixed here",
            got=f"{_specs(inputs)}, open: {_named(missing)}",
            hint='give batch=32 for None, and sizes={"name": 10} for names',
        )
    fixed = [
        spec(tuple(s if isinstance(s, int) else known[s] for s in leaf.shape), leaf.dtype)
        if isinstance(leaf, Spec)
        else leaf
        for leaf in pytree.leaves(list(inputs))
    ]
    result: list[Any] = pytree.unflatten(list(inputs), fixed)
    return result


def _specs(inputs: Sequence[Any]) -> str:
    return ", ".join(str(leaf) for leaf in pytree.leaves(list(inputs)) if isinstance(leaf, Spec))


def _named(sizes: Sequence[str | None]) -> str:
    return ", ".join("batch" if s is None else s for s in sizes)


Named: TypeAlias = tuple[str, Specialization]


def write(functions: Sequence[Named], path: Path, kind: ArtifactKind) -> None:
    """Write the file. Variables start with the values that they have now.

    Raises UnsupportedError for what this version, or the backend, can't make.
    """
    if path.is_dir() or not path.absolute().parent.is_dir():
        what = "a directory" if path.is_dir() else "in a directory that does not exist"
        raise OptionError(f"what is built is one {kind.value} file", got=f"{brief(str(path))}, which is {what}")
    for name, found in functions:
        if found.result.printed:
            raise UnsupportedError(
                "gx.print works in Python, not in what is built",
                got=f"{name}, which prints at {found.result.printed[0].where}",
                hint="take it out, or make the value a result",
            )
    match kind:
        case ArtifactKind.PROGRAM:
            if len(functions) > 1:
                raise UnsupportedError(
                    "a program is made of one function for one size of batch, in this version",
                    got=", ".join(name for name, _ in functions),
                    hint='kind="package" keeps several',
                )
            _build_program(*functions[0], path)
        case ArtifactKind.PACKAGE:
            from .package import pack

            for name, found in functions:
                if forgotten := _forgotten_mode(found):
                    text = f"the package of {name} will go on drawing random numbers: {forgotten}, unless meant so"
                    warnings.warn(text, stacklevel=stack_level())
            pack(functions).write(path)
        case ArtifactKind.LIBRARY:
            raise UnsupportedError(
                "this version builds programs and packages, no libraries yet",
                got=f"kind={kind.value!r}",
                hint='build(path, kind="program")',
            )


def of_one(
    function: Traceable,
    name: str,
    inputs: Sequence[Any] | None,
    batch: int | Sequence[int] | None,
    sizes: Mapping[str, int],
) -> list[Named]:
    """The function for its declared inputs, or for these, with all sizes fixed: one for each size of the batch.

    Raises TraceError where inputs are not known.
    """
    declared = _declared(function, name, inputs)
    return [(name, function.specialize(*fix_sizes(declared, size, sizes))) for size in _batches(batch)]


def of_all(
    functions: Mapping[str, Traceable], batch: int | Sequence[int] | None, sizes: Mapping[str, int]
) -> list[Named]:
    """Several functions for their declared inputs. What is given of sizes counts for those that leave it open."""
    found: list[Named] = []
    unused = {*known_sizes(None if batch is None else 0, sizes)}
    for name, function in functions.items():
        declared = _declared(function, name, None)
        own = open_sizes(declared)
        unused -= {*own}
        for size in _batches(batch if None in own else None):
            known = {s: n for s, n in known_sizes(size, sizes).items() if s in own}
            found.append((name, function.specialize(*with_sizes(declared, known))))
    if unused:
        raise ShapeError("a size is given that no function leaves open", got=_named(list(unused)))
    return found


def _declared(function: Traceable, name: str, inputs: Sequence[Any] | None) -> tuple[Any, ...]:
    """What the function is to be built for: specs or examples."""
    declared = function.inputs if inputs is None else tuple(inputs)
    if declared is None and parameter_count(function.function) == 0:
        return ()
    if declared is None or any(s is None for s in declared):
        raise TraceError(
            f"{name} does not say what its inputs are",
            hint="compile it with inputs=[gx.spec(...), ...], or give build(..., inputs=[...]): specs or examples",
        )
    return declared


def _batches(batch: int | Sequence[int] | None) -> list[int | None]:
    """Each size of the batch once."""
    if not isinstance(batch, list | tuple):
        return [None if batch is None else fixed_size(batch, SIZE)]
    if not batch:
        raise ShapeError("a function is built for at least one size of the batch", got=f"batch={brief(batch)}")
    return list(dict.fromkeys(fixed_size(size, SIZE) for size in batch))


def _forgotten_mode(found: Specialization) -> str | None:
    """What there is to say of a function that trains nothing, but changes state with modules in training mode: most
    likely a model whose dropout was to be off."""
    read = [g for g in found.guards.all if isinstance(g, Attribute) and g.name == "training"]
    training = [type(g.owner).__name__ for g in read if g.value is True]
    updates = zip(found.variables, found.compilation.graph.updates, strict=True)
    changed = [v for v, update in updates if update is not None]
    if not training or not changed or any(v.trainable for v in changed):
        return None
    return f"model.eval() before, since {', '.join(dict.fromkeys(training))} is in training mode"


def _build_program(name: str, found: Specialization, path: Path) -> None:
    """A program has no state: what the function only reads, it holds as constants; the backend packs and casts them
    now, so that the program starts with nothing left to do."""
    graph, settings = found.compilation.graph, found.compilation.settings
    pairs = zip(found.variables, graph.updates, strict=True)
    if assigned := [v.name for v, update in pairs if update is not None]:
        raise UnsupportedError(
            "this version builds programs of functions that assign to no Variable",
            got=f"{name}, which assigns to {', '.join(dict.fromkeys(assigned))}",
            hint=_forgotten_mode(found) or 'a package keeps Variables: build(path, kind="package")',
        )
    program = found.compilation.program
    if not isinstance(program, Linkable):
        raise UnsupportedError(
            f"the {settings.backend} backend makes no standalone programs", hint='compile with backend="llvm"'
        )
    with call_lock:
        program.link(path, [v.storage.array for v in found.variables], found.result.names)
