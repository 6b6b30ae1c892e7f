"""The object cache: compiled code kept on disk between processes.

In: a key and bytes. Out: the same bytes, or None. Whatever is wrong with the disk, a directory or an entry, the
caller just compiles; the first thing that goes wrong is reported once. Knows nothing of kernels.

An entry is a file named by its key: magic, SHA-256 of key and payload, payload. Entries are written to a temporary file
and renamed, so that processes need no lock. The directory must belong to the user and be writable by nobody else, since
its contents are executed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import stat
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from graphc import imported
from graphc.callers import stack_level
from graphc.imported import IMPORTED_NS
from graphc.locks import new_lock
from graphc.settings import Settings

from .. import library

MAGIC = b"graphc object 1\n"
LIMIT = 512 << 20  # bytes that the directory may hold
DAY = 24 * 3600.0  # seconds


def cache_folder(settings: Settings) -> Path | None:
    """Where the cache lives: `cache_dir`, else graphc's folder in the user's cache directory. None: it is off."""
    if not settings.cache:
        return None
    if settings.cache_dir:
        return Path(settings.cache_dir).absolute()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (base if base.is_absolute() else Path.home() / ".cache") / "graphc"
    except RuntimeError:  # a user without a home
        return None


def cache_key(*parts: object) -> str:
    """A name for what is made from `parts` (printed exactly, so let them be text, numbers, tuples, bytes) by this
    version of graphc and LLVM."""
    text = repr((*parts, library.version(), source_digest()))
    return hashlib.sha256(text.encode()).hexdigest()


def source_digest() -> str:
    """SHA-256 over the sources of the core, the passes and this backend; what the frontend does is in the graphs.
    Contents rather than times: a source restored or installed with an old date is another source."""
    return _seen().digest


class _Sources(NamedTuple):
    """The sources as this process has seen them: their digest, and whether they were those that it had imported."""

    digest: str
    imported: bool


def _seen() -> _Sources:
    """Seen once, by one thread, while another that wants it waits."""
    with _reading:
        return _sources_now()


_reading = new_lock()


@lru_cache(maxsize=1)
def _sources_now() -> _Sources:
    digest = hashlib.sha256()
    newest = 0
    for path in _all_sources():
        data, changed = _contents(path)
        newest = max(newest, changed)
        digest.update(f"{os.path.basename(path)} {len(data)}\n".encode())
        digest.update(data)
    imported = _is_imported(newest)
    if not imported:  # then nothing that others have kept is for this process
        digest.update(os.urandom(32))
    return _Sources(digest.hexdigest(), imported)


def _contents(path: str) -> tuple[bytes, int]:
    """What a file holds, and when it last changed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)
        return b"".join(parts), os.fstat(descriptor).st_ctime_ns
    finally:
        os.close(descriptor)


def sources_are_those_imported() -> bool:
    """Whether no source has changed since this process began to import them, so that their digest is that of what runs,
    also of modules that will only be imported later. By the times at which the system says that files last changed or
    moved, which nobody can set."""
    return _is_imported(max(os.stat(path).st_ctime_ns for path in _all_sources()))


def _is_imported(changed: int) -> bool:
    """Whether what this process imports of a source that last changed then is what the source holds."""
    return changed < IMPORTED_NS - CLOCK_NS


CLOCK_NS = 20_000_000  # file systems stamp with a clock that ticks every few milliseconds


def _all_sources() -> list[str]:
    core = os.path.dirname(imported.__file__)  # the package's own folder; to this one a link leads
    return [path for folder, deep in SOURCES for path in _sources(os.path.join(core, folder), deep)]


# What decides about code, below the package's folder; `False`: without the folders in it.
SOURCES = (
    *(("", False), ("backends", False)),
    *((folder, True) for folder in ("ops", "text", "passes", "driver", "backends/kernels", "backends/llvm")),
)


def _sources(folder: str, deep: bool) -> list[str]:
    """The Python files of a folder, in a fixed order."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    files = [e.path for e in found if e.name.endswith(".py")]
    folders = [e.path for e in found if deep and "." not in e.name and e.is_dir()]
    return files + [path for below in folders for path in _sources(below, deep)]


class ObjectCache:
    """Bytes by key in one directory. `problem`: why it does not work (fully), or None."""

    def __init__(
        self, folder: Path | None, limit: int = LIMIT, *, tells: bool = True, imports: bool = True
    ) -> None:
        """`folder` None: nothing is found and nothing is kept. `tells`: whether a problem is reported. `imports`: False
        where all that makes what is put was imported before the first key was made, which has looked at the sources."""
        self.folder = folder
        self.limit = limit
        self.tells = tells
        self.problem: str | None = None
        self.hits = 0
        self.misses = 0
        self._usable = folder is not None and self._prepare(folder)
        self._writable = self._usable
        self._imports = imports
        self._is_current: bool | None = None  # not looked at yet

    def get(self, key: str) -> bytes | None:
        """What was put under the key, or None if there is nothing, or nothing sound."""
        found = self._read(key) if self._usable else None
        if found is None:
            self.misses += 1
        else:
            self.hits += 1
        return found

    def put(self, key: str, payload: bytes) -> None:
        """Keep the payload, if the disk allows. Another process may do the same at the same time."""
        if self.folder is None or not self._writable or not self._may_keep():
            return
        temporary = None
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=self.folder)  # mode 0600
            with open(descriptor, "wb") as file:
                file.write(MAGIC + _checksum(key, payload) + payload)
            os.replace(temporary, self.folder / key)
        except OSError as error:
            self._writable = False
            self._report(f"nothing can be written to {self.folder}: {error.strerror}")
            if temporary is not None:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
            return
        if random.random() * self.limit // 8 < len(payload):
            self._evict(self.folder)  # by chance: no process knows what the others write, and a look costs much

    def _may_keep(self) -> bool:
        """Whether what this process makes is made by the sources that keys are made from, also by those that it has
        imported since. Looked at once for each compilation, which has a cache of its own."""
        if self._is_current is None:
            self._is_current = sources_are_those_imported() if self._imports else _seen().imported
        return self._is_current

    def fetch(self, key: str, make: Callable[[], bytes]) -> bytes:
        """What was put under the key; if there is nothing, what `make` makes, which is then kept."""
        found = self.get(key)
        if found is None:
            found = make()
            self.put(key, found)
        return found

    def _prepare(self, folder: Path) -> bool:
        """Make the directory, or see whether it can be trusted."""
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.stat()
        except OSError as error:
            return self._report(f"{folder} can't be made: {error.strerror}")
        if not stat.S_ISDIR(found.st_mode):
            return self._report(f"{folder} is no directory")
        if found.st_uid != os.geteuid():
            return self._report(f"{folder} belongs to another user")
        if found.st_mode & 0o022:
            return self._report(f"others may write to {folder}; chmod 700 makes it safe")
        return True

    def _read(self, key: str) -> bytes | None:
        """The payload of an entry that is sound and ours."""
        assert self.folder is not None
        try:
            descriptor = os.open(self.folder / key, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
                    return None
                with open(descriptor, "rb", buffering=0, closefd=False) as file:
                    data = file.read()
                if status.st_mtime < time.time() - DAY:  # the time of last use, to the day, says what to evict
                    os.utime(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            return None
        start = len(MAGIC) + hashlib.sha256().digest_size
        payload = data[start:]
        return payload if data[:start] == MAGIC + _checksum(key, payload) else None

    def _evict(self, folder: Path) -> None:
        """If there is more than the limit, delete what was not used for longest until a fifth is free; and temporary
        files that processes left when they were killed."""
        now = time.time()
        entries = []
        with contextlib.suppress(OSError), os.scandir(folder) as found:
            for entry in found:
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if not entry.name.startswith(".new-"):
                        entries.append((status.st_mtime, status.st_size, entry.path))
                    elif status.st_mtime < now - DAY:
                        os.unlink(entry.path)
        total = sum(size for _, size, _ in entries)
        if total <= self.limit:
            return
        for _, size, path in sorted(entries):
            with contextlib.suppress(OSError):
                os.unlink(path)
            total -= size
            if total <= self.limit * 4 // 5:
                return

    def _report(self, problem: str) -> bool:
        """Say once that the cache does not work. False, for convenience."""
        if self.problem is None:
            self.problem = problem
            if not self.tells:
                return False
            warnings.warn(
                f"compiled code is not kept: {problem} (GRAPHC_CACHE_DIR names another directory, "
                "GRAPHC_CACHE=0 turns the cache off)", RuntimeWarning, stacklevel=stack_level(),
            )  # fmt: skip
        return False


def _checksum(key: str, payload: bytes) -> bytes:
    digest = hashlib.sha256(key.encode())
    digest.update(payload)
    return digest.digest()
