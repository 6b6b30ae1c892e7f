"""Files, whole: a path always holds the old one, or the new one once it is on the disk; what is read is a file, too.

Whatever ends the writing, a full disk, a kill, a loss of power, leaves what was there before. Symbolic links are
followed, as by `open`; what is no regular file is never replaced.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .brief import brief
from .errors import PathError


def destination(path: str | os.PathLike[str]) -> Path:
    """Where a file of this name is to be put: links followed. Raises PathError for what is there and no file."""
    _check_name(path)
    place = Path(os.path.realpath(path))
    with contextlib.suppress(FileNotFoundError):
        mode = os.stat(place).st_mode
        if not stat.S_ISREG(mode):
            raise PathError(f"{path} is {_kind(mode)}, and is not replaced by a file", hint="name a file")
    if not place.parent.is_dir():
        raise PathError(f"{path} can't be written", got=f"no folder {place.parent}", hint="make the folder first")
    return place


@contextmanager
def replacing(path: str | os.PathLike[str], executable: bool = False) -> Iterator[BinaryIO]:
    """A file to write to; it takes the place of what is there when the block has ended without an exception."""
    place = destination(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{place.name[:100]}-", dir=place.parent)
    try:
        with open(handle, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), (0o777 if executable else 0o666) & ~_umask())
            os.fsync(file.fileno())
        os.replace(temporary, place)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(place.parent)


def put_in_place(made: Path, place: Path) -> None:
    """Let a finished file in the same folder take the place of what is there; `place` comes from `destination`."""
    with made.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(made, place)
    _sync_folder(place.parent)


def replace_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write these bytes."""
    with replacing(path) as file:
        file.write(data)


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to read. Raises PathError for a folder, and for a device or pipe, which may never end; OSError for what
    can't be opened."""
    _check_name(path)
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise PathError(f"{path} is no file that can be read as a whole", got=_kind(mode))
    with open(handle, "rb") as file:
        yield file


def _check_name(path: str | os.PathLike[str]) -> None:
    if "\0" in os.fsdecode(path):
        raise PathError("the name of a file holds no NUL", got=brief(os.fsdecode(path)))


def _kind(mode: int) -> str:
    return "a folder" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"


def _sync_folder(folder: Path) -> None:
    """Have the new name on the disk too, where the system can do that for a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    """The process's, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
