"""Compiled functions as files that live without Python: a specialization in, an artifact on disk out."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from .backends.backend import Linkable
from .driver import call_lock
from .errors import UnsupportedError

if TYPE_CHECKING:
    from .executable import Specialization


class Kind(Enum):
    """What can be built."""

    PROGRAM = "program"  # an executable file: arrays as .npy files in, arrays out
    LIBRARY = "library"  # a shared library with a C header
    PACKAGE = "package"  # what `gx.load` opens


def build(found: Specialization, path: Path, kind: Kind) -> None:
    """Write the artifact. Variables start with the values that they have now.

    Raises UnsupportedError for a kind that this version, or the backend, can't make.
    """
    if kind is not Kind.PROGRAM:
        raise UnsupportedError(
            "this version builds programs only",
            got=f"kind={kind.value!r}",
            hint='build(path, kind="program")',
        )
    compilation = found.compilation
    program = compilation.program
    if not isinstance(program, Linkable):
        raise UnsupportedError(
            f"the {compilation.settings.backend} backend makes no standalone programs",
            hint='compile with backend="llvm"',
        )
    with call_lock:
        values = [v.storage.array.copy() for v in found.variables]
    program.link(path, values)
