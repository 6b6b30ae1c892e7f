"""Sealed archives: named byte strings in, a zip file whose first member lists all others with their SHA-256, and back.

Members are stored as they are, so that nothing grows while it is read. Knows nothing of what the members hold.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

from ..dataclass import dataclass
from ..errors import GraphcError, PackageError
from ..files import reading, replacing
from ..records import from_json, to_json

SEAL = "seal.json"
DATE = (1980, 1, 1, 0, 0, 0)  # zip's first: equal contents make equal files


@dataclass(frozen=True)
class Seal:
    """What makes the file what it is. `members`: SHA-256 by name."""

    format: str
    version: int
    members: Mapping[str, str]


def write_archive(path: Path, format: str, version: int, members: Mapping[str, bytes]) -> None:
    """Write the file, replacing what is there once it is complete."""
    seal = Seal(format, version, {name: _digest(data) for name, data in members.items()})
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {SEAL: to_json(seal), **members}.items():
            archive.writestr(zipfile.ZipInfo(name, DATE), data)


def read_archive(path: Path, format: str, version: int) -> dict[str, bytes]:
    """The members of a file of this format.

    Raises PackageError for a file that is none, is of a later version, or was changed since it was written; OSError
    for one that can't be opened.
    """
    with reading(path) as file:
        try:
            members = _members(file.fileno(), zipfile.ZipFile(file))
        except (zipfile.BadZipFile, ArithmeticError, EOFError, LookupError, OSError, RuntimeError, ValueError,
                struct.error) as error:  # fmt: skip
            if isinstance(error, GraphcError):
                raise error
            raise PackageError(f"{path.name} is no {format}, or a damaged one", got=str(error)) from None
    if SEAL not in members:
        raise PackageError(f"{path.name} is no {format}", got="a zip file of another kind")
    seal = from_json(Seal, members.pop(SEAL))
    if seal.format != format:
        raise PackageError(f"{path.name} is no {format}", got=seal.format)
    if seal.version != version:
        raise PackageError(
            f"{path.name} is a {format} of version {seal.version}", got=f"a graphc that reads version {version}",
            hint="build it again with this version of graphc",
        )  # fmt: skip
    if seal.members != {name: _digest(data) for name, data in members.items()}:
        raise PackageError(f"{path.name} was changed after it was written", got="other members than its seal lists")
    return members


def _members(descriptor: int, archive: zipfile.ZipFile) -> dict[str, bytes]:
    """The contents of all members, which are stored and together no larger than the file."""
    found = archive.infolist()
    if any(m.compress_type != zipfile.ZIP_STORED or m.compress_size != m.file_size for m in found):
        raise PackageError("the members of a package are stored as they are", got="compressed ones")
    if sum(m.file_size for m in found) > os.fstat(descriptor).st_size:
        raise PackageError("the members of a package lie side by side", got="some that overlap")
    return {m.filename: archive.read(m) for m in found}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
