"""Compiled functions as files: a specialization in; a standalone program, or a package, on disk out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .backends.backend import Linkable
from .brief import brief
from .driver import call_lock
from .errors import OptionError, ShapeError, UnsupportedError
from .frontend import pytree
from .frontend.guards import Attribute
from .frontend.location import stack_level
from .frontend.spec import Spec, fixed_size, spec

if TYPE_CHECKING:
    from .specialization import Specialization


class Kind(Enum):
    """What can be built."""

    PROGRAM = "program"  # an executable file: arrays as .npy files in, arrays out
    LIBRARY = "library"  # a shared library with a C header
    PACKAGE = "package"  # what `gx.load` opens


def fix_sizes(inputs: Sequence[Any], batch: int | None, sizes: Mapping[str, int]) -> list[Any]:
    """The inputs with every size of their specs fixed.

    Raises ShapeError that lists the sizes that are still open, or that are given but in no spec, and for one that is no
    number.
    """
    if not isinstance(sizes, Mapping):
        raise ShapeError('sizes are given by name, as in sizes={"time": 10}', got=brief(sizes))
    given: dict[str | None, int] = {} if batch is None else {None: batch}
    given.update(sizes)
    known = {name: fixed_size(size, "a size is a whole number ≥ 0") for name, size in given.items()}
    leaves = pytree.leaves(list(inputs))
    open_sizes = dict.fromkeys(s for leaf in leaves if isinstance(leaf, Spec) for s in leaf.open_sizes)
    described = ", ".join(str(leaf) for leaf in leaves if isinstance(leaf, Spec))
    if missing := [s for s in open_sizes if s not in known]:
        raise ShapeError(
            "every size must be fixed here",
            got=f"{described}, open: {_named(missing)}",
            hint='give batch=32 for None, and sizes={"name": 10} for names',
        )
    if unknown := [s for s in known if s not in open_sizes]:
        raise ShapeError("a size is given that no input leaves open", got=f"{_named(unknown)}, with {described}")
    fixed = [
        spec(tuple(s if isinstance(s, int) else known[s] for s in leaf.shape), leaf.dtype)
        if isinstance(leaf, Spec)
        else leaf
        for leaf in leaves
    ]
    result: list[Any] = pytree.unflatten(list(inputs), fixed)
    return result


def _named(sizes: Sequence[str | None]) -> str:
    return ", ".join("batch" if s is None else s for s in sizes)


def build(found: Specialization, name: str, path: Path, kind: Kind) -> None:
    """Write the file. Variables start with the values that they have now.

    Raises UnsupportedError for what this version, or the backend, can't make.
    """
    if path.is_dir() or not path.absolute().parent.is_dir():
        what = "a directory" if path.is_dir() else "in a directory that does not exist"
        raise OptionError(f"what is built is one {kind.value} file", got=f"{brief(str(path))}, which is {what}")
    if found.result.printed:
        raise UnsupportedError(
            "gx.print works in Python, not in what is built",
            got=f"{name}, which prints at {found.result.printed[0].where}",
            hint="take it out, or make the value a result",
        )
    match kind:
        case Kind.PROGRAM:
            _build_program(found, name, path)
        case Kind.PACKAGE:
            from .package import pack

            if forgotten := _forgotten_mode(found):
                text = f"the package of {name} will go on drawing random numbers: {forgotten}, unless it is meant so"
                warnings.warn(text, stacklevel=stack_level())
            pack(found, name).write(path)
        case Kind.LIBRARY:
            raise UnsupportedError(
                "this version builds programs and packages, no libraries yet",
                got=f"kind={kind.value!r}",
                hint='build(path, kind="program")',
            )


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


def _build_program(found: Specialization, name: str, path: Path) -> None:
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
