"""The object cache: nothing that is wrong with a disk may be noticed in a result, or break a compile."""

import os
import resource
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from graphc.backends.llvm.run import cache as cache_module
from graphc.backends.llvm.run.cache import MAGIC, ObjectCache, _sources_now, cache_folder, cache_key
from graphc.settings import Settings

KEY = cache_key("kernel", 1)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def cache(tmp_path):
    return ObjectCache(tmp_path / "cache")


def test_what_was_put_is_found_by_another_process(cache):
    assert cache.get(KEY) is None
    cache.put(KEY, b"code")
    other = ObjectCache(cache.folder)
    assert other.get(KEY) == b"code"
    assert (cache.hits, cache.misses, other.hits, other.misses) == (0, 1, 1, 0)
    assert cache.problem is None


def test_everything_is_private(cache):
    previous = os.umask(0)
    try:
        cache.put(KEY, b"code")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(f.stat().st_mode) for f in cache.folder.iterdir()] == [0o600]


@pytest.mark.parametrize("damage", [
    lambda d: d[:-1],
    lambda d: d + b"x",
    lambda d: d[: len(MAGIC)],
    lambda d: b"",
    lambda d: d[:60] + bytes([d[60] ^ 1]) + d[61:],
    lambda d: b"G" + d[1:],
    lambda d: b"another program's file",
])  # fmt: skip
def test_damaged_entry_is_ignored_and_rewritten(cache, damage):
    cache.put(KEY, b"code" * 100)
    path = cache.folder / KEY
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get(KEY) is None
    cache.put(KEY, b"code" * 100)
    assert cache.get(KEY) == b"code" * 100


def test_entry_under_another_name_is_ignored(cache):
    cache.put(KEY, b"code")
    other = cache_key("kernel", 2)
    os.rename(cache.folder / KEY, cache.folder / other)
    assert cache.get(other) is None


@pytest.mark.parametrize("make", [
    lambda p: p.mkdir(),
    lambda p: os.mkfifo(p),
    lambda p: p.symlink_to(p.with_name("real")),
    lambda p: (p.write_bytes(p.with_name("real").read_bytes()), p.chmod(0o622)),
], ids=["folder", "fifo", "link", "others-may-write"])  # fmt: skip
def test_entry_that_is_no_private_file_is_ignored(cache, make):
    cache.put(KEY, b"code")
    os.rename(cache.folder / KEY, cache.folder / "real")
    make(cache.folder / KEY)
    assert cache.get(KEY) is None


def test_foreign_entry_is_ignored(cache, monkeypatch):
    cache.put(KEY, b"code")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert cache.get(KEY) is None


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_folder_that_others_may_write_to_is_refused(tmp_path, mode):
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.warns(RuntimeWarning, match="others may write"):
        check_off(ObjectCache(folder))
    assert list(folder.iterdir()) == []


def test_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.warns(RuntimeWarning, match="another user"):
        check_off(ObjectCache(tmp_path))


@pytest.mark.parametrize("folder", ["/proc/self/graphc", "/dev/null", "/dev/null/graphc"])
def test_folder_that_cannot_be_is_reported_once(folder):
    with pytest.warns(RuntimeWarning, match="compiled code is not kept"):
        check_off(ObjectCache(Path(folder)))


def check_off(cache):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put(KEY, b"code")
        assert cache.get(KEY) is None
    assert cache.problem


@pytest.mark.parametrize("limit", [0, 100], ids=["nothing", "a-part"])
def test_full_disk_is_reported_once_and_leaves_nothing(cache, limit):
    """The limit on the size of a file stands for a full disk: writing fails in the same way."""
    cache.put(KEY, b"code")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.warns(RuntimeWarning, match="nothing can be written") as seen:
            for n in range(3):
                cache.put(cache_key(n), bytes(10000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(seen) == 1
    assert [f.name for f in cache.folder.iterdir()] == [KEY]
    assert cache.get(KEY) == b"code"


def test_what_was_used_last_stays(tmp_path):
    folder = tmp_path / "cache"
    cache = ObjectCache(folder, limit=10**6)
    keys = [cache_key(n) for n in range(30)]
    for age, key in enumerate(keys):
        cache.put(key, bytes(1000))
        os.utime(folder / key, (10**9 + age, 10**9 + age))
    (folder / ".new-left-behind").write_bytes(b"")
    os.utime(folder / ".new-left-behind", (0, 0))
    (folder / ".new-being-written").write_bytes(b"")
    favourite = keys[20]
    assert cache.get(favourite) is not None  # makes it the latest
    later = ObjectCache(folder, limit=5000)
    later.put(KEY, bytes(700))  # so much that it looks for sure
    left = {f.name for f in folder.iterdir()}
    assert {favourite, KEY, keys[29], ".new-being-written"} <= left
    assert keys[0] not in left and ".new-left-behind" not in left
    assert sum(f.stat().st_size for f in folder.iterdir()) <= 5000


HAMMER = """
import sys
from pathlib import Path
from graphc.backends.llvm.run.cache import ObjectCache
cache = ObjectCache(Path(sys.argv[1]), limit=3_000_000)
payloads = [bytes([n]) * (100_000 * n) for n in range(1, 5)]
for i in range(int(sys.argv[2])):
    cache.put("key", payloads[i % 4])
    found = cache.get("key")
    assert found is None or found in payloads, len(found)
assert cache.problem is None
"""


def test_processes_that_write_the_same_key(tmp_path):
    command = [sys.executable, "-W", "error", "-c", HAMMER, str(tmp_path / "cache"), "150"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    workers = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [w.communicate(timeout=120)[1] for w in workers]
    assert [w.returncode for w in workers] == [0, 0, 0], errors
    assert [f.name for f in (tmp_path / "cache").iterdir()] == ["key"]
    assert ObjectCache(tmp_path / "cache").get("key") is not None


def test_fetch_makes_what_is_missing_once(cache):
    made = iter([b"code"])
    for _ in range(3):
        assert cache.fetch(KEY, lambda: next(made)) == b"code"


def test_where_it_lives(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder(Settings()) == tmp_path / "graphc"
    assert cache_folder(Settings(cache_dir="/somewhere")) == Path("/somewhere")
    assert cache_folder(Settings(cache=False, cache_dir="/somewhere")) is None
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder(Settings()) == tmp_path / ".cache" / "graphc"


def test_cache_that_is_off_is_silent():
    cache = ObjectCache(None)
    cache.put(KEY, b"code")
    assert cache.get(KEY) is None and cache.problem is None


def test_key_depends_on_every_part(monkeypatch):
    keys = {cache_key("a", "b"), cache_key("ab"), cache_key("b", "a"), cache_key("a", "b", 1), cache_key(b"a", "b")}
    assert len(keys) == 5
    assert cache_key("a", "b") in keys
    monkeypatch.setattr("graphc.backends.llvm.run.cache.source_digest", lambda: "other sources")
    assert cache_key("a", "b") not in keys


def test_source_digest_sees_contents(monkeypatch, tmp_path):
    places = (".", "ops/a", "text", "passes/rules", "driver", "backends/kernels", "backends/llvm/emit/math")
    sources = [tmp_path / place / "x.py" for place in places]
    for source in sources:
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text("a = 1\n")
    monkeypatch.setattr(cache_module.imported, "__file__", str(tmp_path / "imported.py"))
    monkeypatch.setattr(cache_module, "IMPORTED_NS", 1 << 64)
    seen = {_sources_now.__wrapped__()}
    for number, source in enumerate(sources, 2):
        times = source.stat()
        source.write_text("a = 2\n")
        os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
        seen.add(_sources_now.__wrapped__())
        assert len(seen) == number
    (tmp_path / "frontend").mkdir()
    (tmp_path / "frontend" / "x.py").write_text("a = 1\n")
    assert _sources_now.__wrapped__() in seen


def test_the_folder_is_scanned_once_for_much_that_is_written(tmp_path, monkeypatch):
    """Not at each compile: a scan of a full folder takes as long as a small compile."""
    scans = []
    monkeypatch.setattr(ObjectCache, "_evict", lambda self, folder: scans.append(folder))
    for number in range(500):  # 2 MB of 64 for which there is one scan
        ObjectCache(tmp_path / "cache").put(cache_key(number), bytes(4096))
    assert len(scans) <= 5
