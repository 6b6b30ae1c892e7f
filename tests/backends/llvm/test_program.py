"""Standalone programs: they compute what instances compute, and no file makes them crash."""

import io
import os
import resource
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from graphc.backends.llvm.features import CHECKED
from graphc.backends.llvm.native import Table, TaskSpec
from graphc.backends.llvm.run.cache import ObjectCache
from graphc.backends.llvm.run.team import usable_threads
from graphc.backends.llvm.ship.program import FOLDER, c_string, find_compiler, link_program
from graphc.backends.llvm.target import describe, host_target
from graphc.dataclass import replace
from graphc.errors import CompileError, UnsupportedError
from graphc.schedule import Buffer, Space
from graphc.types import TensorType, bfloat16, bool_, float32, int64
from tests.backends.llvm import kernels
from tests.backends.llvm.test_runtime import buffer, chain, program

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    cache = ObjectCache(folder / "cache")

    def build(p, name, variables=()):
        link_program(folder / name, p, host_target(), cache, variables)
        return folder / name

    return build


@pytest.fixture(scope="module")
def reverse(build):
    """out = in reversed, 1000 float32."""
    return build(chain(1000, 5, 16), "reverse")


@pytest.fixture(scope="module")
def gather(build):
    """out[i] = table[index[i]], by a table of 8 with 100 indices."""
    buffers = [buffer(0, float32, 8, Space.CONSTANT), Buffer(1, TensorType(int64, (20, 5)), Space.INPUT, name="index"),
               Buffer(2, TensorType(float32, (20, 5)), Space.OUTPUT, name="out")]  # fmt: skip
    tasks = [TaskSpec("gather", (0, 1, 2), 100, 8, where='model.py:12: y = gx.take("a\\b??/", x)')]
    return build(program(kernels.GATHER, tasks, buffers, constants=(np.arange(8, dtype="f4"),)), "gather")


def run(*command, **more):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60, check=False, **more)


def refused(result, said):
    assert result.returncode == 2, result
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1 and result.stderr.endswith("\n")
    assert said in result.stderr
    return True


@pytest.mark.parametrize("threads", ["1", "2", "0"])
def test_files_in_files_out(reverse, tmp_path, threads):
    x = np.random.rand(1000).astype("f4")
    np.save(tmp_path / "x.npy", x)
    environment = {**os.environ, "GRAPHC_THREADS": threads}
    result = run(reverse, tmp_path / "x.npy", "-o", tmp_path / "y.npy", env=environment)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    y = np.load(tmp_path / "y.npy")
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, x[::-1])
    assert sorted(os.listdir(tmp_path)) == ["x.npy", "y.npy"]
    previous = os.umask(0)
    os.umask(previous)
    assert (tmp_path / "y.npy").stat().st_mode & 0o777 == 0o666 & ~previous


def test_prepare_constants_and_variables(build, tmp_path):
    """y = x + (w + w), z = w, where w is a Variable and 2w is prepared."""
    names = [("w", Space.VARIABLE, 0), ("w2", Space.PREPARED, 0), ("zero", Space.CONSTANT, 1), ("x", Space.INPUT, 0),
             ("y", Space.OUTPUT, 0), ("z", Space.OUTPUT, 1)]  # fmt: skip
    buffers = [Buffer(i, TensorType(float32, (2, 4)), s, p, name=n) for i, (n, s, p) in enumerate(names)]
    p = program(kernels.ADD, [TaskSpec("add", (1, 3, 4), 8, 2), TaskSpec("add", (0, 2, 5), 8, 2)], buffers,
                prepare=Table.of([TaskSpec("add", (0, 0, 1), 8, 2)]), prepared_bytes=64,
                constants=(np.ones(3), np.zeros((2, 4), "f4")))  # fmt: skip
    w, x = np.arange(8, dtype="f4").reshape(2, 4), np.ones((2, 4), "f4")
    path = build(p, "prepared", (w,))
    np.save(tmp_path / "x.npy", x)
    assert run(path, tmp_path / "x.npy", "-o", tmp_path / "y.npy", "-o", tmp_path / "z.npy").returncode == 0
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), x + 2 * w)
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), w)


@pytest.mark.parametrize("dtype, array", [(bool_, np.array([True, False, True])),
                                          (bfloat16, np.array([1.5, -2, 3], ml_dtypes.bfloat16))])  # fmt: skip
def test_dtypes_that_files_name_in_their_own_way(build, tmp_path, dtype, array):
    """No task at all: the output is whatever the memory holds, so only its header says something."""
    buffers = [Buffer(0, TensorType(dtype, (3,)), Space.INPUT, name="x"),
               Buffer(1, TensorType(dtype, ()), Space.OUTPUT, name="y")]  # fmt: skip
    path = build(program(kernels.ADD, [], buffers, sequential=True), f"empty_{dtype}")
    np.save(tmp_path / "x.npy", array)
    assert run(path, tmp_path / "x.npy", "-o", tmp_path / "y.npy").returncode == 0
    np.save(tmp_path / "expected.npy", np.zeros((), dtype.numpy))
    header = [(tmp_path / f).read_bytes()[:128] for f in ("y.npy", "expected.npy")]
    assert header[0] == header[1]


def test_help_shows_the_signature(gather):
    result = run(gather, "--help")
    assert result.returncode == 0 and result.stderr == ""
    assert "usage: gather index.npy -o out.npy\n" in result.stdout
    assert "index: int64 (20, 5)" in result.stdout and "out: float32 (20, 5)" in result.stdout


def test_bench(reverse, tmp_path):
    words = run(reverse, "--bench", 101).stdout.split()
    assert words[0] == "median" and words[3] == "min" and words[6:8] == ["101", "runs,"]
    assert 0 < float(words[4]) <= float(words[1]) < 1e6
    assert words[8:] == [str(usable_threads()), "threads"]  # threads.c and team.py agree
    np.save(tmp_path / "x.npy", np.ones(1000, "f4"))
    assert run(reverse, "--bench", 1, tmp_path / "x.npy", "-o", tmp_path / "y.npy").returncode == 0
    assert np.load(tmp_path / "y.npy").sum() == 1000


@pytest.mark.parametrize("bad, shown", [(8, "8"), (-1, "-1"), (2**62, str(2**62))])
def test_bad_index(gather, tmp_path, bad, shown):
    index = np.arange(100).reshape(20, 5) % 8
    index[7, 3] = bad
    np.save(tmp_path / "i.npy", index)
    refused(run(gather, tmp_path / "i.npy", "-o", tmp_path / "y.npy"), f"index {shown} lies outside its axis")
    assert 'model.py:12: y = gx.take("a\\b??/", x)' in run(gather, tmp_path / "i.npy", "-o", "y").stderr
    assert os.listdir(tmp_path) == ["i.npy"]


@pytest.mark.parametrize("arguments, said", [
    ([], "needs 1 input"),
    (["a", "b", "-o", "c"], "needs 1 input files, got 2"),
    (["x.npy"], "-o for each of 1 outputs"),
    (["x.npy", "-o"], "-o needs the name"),
    (["x.npy", "-o", "a", "-o", "b"], "got 2"),
    (["x.npy", "-o", "a", "--fast"], "no option --fast"),
    (["--bench"], "--bench needs"),
    (["--bench", "0"], "--bench needs"),
    (["--bench", "-5"], "--bench needs"),
    (["--bench", "1e3"], "--bench needs"),
    (["--bench", "99999999999999999999"], "--bench needs"),
    (["missing\n.npy", "-o", "y"], "missing?.npy can't be read: No such file"),
    ([".", "-o", "y"], "can't be read: Is a directory"),
    (["x.npy", "-o", "no/such/folder/y.npy"], "can't be written: No such file"),
    (["x.npy", "-o", "."], "can't be written: Is a directory"),
    (["x.npy", "-o", "/dev/full"], "can't be written: No space left"),
])  # fmt: skip
def test_wrong_command_line(reverse, tmp_path, arguments, said):
    np.save(tmp_path / "x.npy", np.ones(1000, "f4"))
    refused(run(reverse, *arguments, cwd=tmp_path), said)
    assert os.listdir(tmp_path) == ["x.npy"]


def npy(header, data=b"", version=(1, 0)):
    length = struct.pack("<H" if version[0] == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header + data


HEADER = "{'descr': '<i8', 'fortran_order': False, 'shape': (20, 5), }"
DATA = (np.arange(100) % 8).tobytes()


def saved(array, version=(1, 0)):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


@pytest.mark.parametrize("file", [
    *(saved(np.arange(100).reshape(20, 5) % 8, v) for v in ((1, 0), (2, 0), (3, 0))),
    npy(HEADER.encode(), DATA),
    npy(b' {"shape":(20L,5L),"descr":"=i8","fortran_order":False}\n', DATA),
    npy(HEADER.encode() + b" " * 60000, DATA),
])  # fmt: skip
def test_files_it_takes(gather, tmp_path, file):
    (tmp_path / "i.npy").write_bytes(file)
    assert run(gather, tmp_path / "i.npy", "-o", tmp_path / "y.npy").stderr == ""
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy").ravel(), np.arange(100) % 8)


REFUSED = [
    (b"", "no .npy file"),
    (b"\x93NUMPY", "no .npy file"),
    (b"PK\x03\x04" + bytes(100), "no .npy file"),
    (npy(HEADER.encode(), DATA, (4, 0)), "version 4.0"),
    (npy(HEADER.encode(), DATA, (1, 1)), "version 1.1"),
    (npy(HEADER.encode())[:40], "cut off within its header"),
    (npy(HEADER.encode(), version=(2, 0))[:11], "cut off within its header"),
    (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + HEADER.encode(), "header of 4294967295 bytes"),
    (npy(HEADER.encode(), DATA[:-1]), "cut off: 799 of 800 bytes"),
    (npy(HEADER.encode(), DATA + b"\0"), "goes on after its last element"),
    (npy(HEADER.replace("20, 5", "20, 6").encode(), DATA), "has shape (20, 6), but index has shape (20, 5)"),
    (npy(HEADER.replace("20, 5", "40, 20, 5").encode(), DATA * 40), "has shape (40, 20, 5)"),
    (npy(HEADER.replace("20, 5", "100,").encode(), DATA), "has shape (100,)"),
    (npy(HEADER.replace("20, 5", "").encode(), DATA), "has shape ()"),
    (npy(HEADER.replace("20, 5", "1, " * 70).encode(), DATA), "no plain array"),
    (npy(HEADER.replace("20, 5", "9223372036854775807, 5").encode(), DATA), "no plain array"),
    (npy(HEADER.replace("20, 5", "99999999999999999999999").encode(), DATA), "no plain array"),
    (npy(HEADER.replace("20, 5", "-20, 5").encode(), DATA), "no plain array"),
    (npy(HEADER.replace("20, 5", "100").encode(), DATA), "no plain array"),
    (npy(HEADER.replace("<i8", ">i8").encode(), DATA), "big-endian"),
    (npy(HEADER.replace("<i8", "<f8").encode(), DATA), "has dtype <f8, but index is int64"),
    (npy(HEADER.replace("<i8", "<i8\\n").encode(), DATA), "no plain array"),
    (npy(HEADER.replace("<i8", "|O").encode(), DATA), "has dtype |O"),
    (npy(HEADER.replace("<i8", "").encode(), DATA), "has dtype"),
    (npy(HEADER.replace("'<i8'", "[('a', '<i8')]").encode(), DATA), "no plain array"),
    (npy(HEADER.replace("False", "True").encode(), DATA), "Fortran order"),
    (npy(HEADER.replace("False", "Fals").encode(), DATA), "no plain array"),
    (npy(HEADER.replace("fortran_order", "order").encode(), DATA), "no plain array"),
    (npy(HEADER.replace("fortran_order", "descr").encode(), DATA), "no plain array"),
    (npy((HEADER + "x").encode(), DATA), "no plain array"),
    (npy(HEADER[:-1].encode(), DATA), "no plain array"),
    (npy(HEADER.encode() + b"\0" * 8, DATA), "no plain array"),
    (npy(b"{'descr': '<i8', 'fortran_order': False, }", DATA), "no plain array"),
    (npy(b"{" * 60000, DATA), "no plain array"),
    (npy(b"", DATA), "no plain array"),
]


@pytest.mark.parametrize("file, said", REFUSED, ids=range(len(REFUSED)))
def test_files_it_refuses(gather, tmp_path, file, said):
    (tmp_path / "i.npy").write_bytes(file)
    refused(run(gather, tmp_path / "i.npy", "-o", tmp_path / "y.npy"), said)
    assert os.listdir(tmp_path) == ["i.npy"]


def test_one_axis_has_no_order(reverse, tmp_path):
    data = np.arange(1000, dtype="f4")
    (tmp_path / "x.npy").write_bytes(npy(b"{'descr': '<f4', 'fortran_order': True, 'shape': (1000,)}", data.tobytes()))
    assert run(reverse, tmp_path / "x.npy", "-o", tmp_path / "y.npy").returncode == 0
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), data[::-1])


def test_pipes_and_links(reverse, tmp_path):
    data = np.arange(1000, dtype="f4")
    np.save(tmp_path / "real.npy", data)
    (tmp_path / "link.npy").symlink_to("real.npy")
    with open(tmp_path / "real.npy", "rb") as file:
        command = [reverse, "/dev/stdin", "-o", "/dev/stdout"]
        piped = subprocess.run(command, stdin=file, capture_output=True, timeout=60, check=True)
    np.testing.assert_array_equal(np.load(io.BytesIO(piped.stdout)), data[::-1])
    assert run(reverse, tmp_path / "link.npy", "-o", tmp_path / "link.npy").returncode == 0
    assert (tmp_path / "link.npy").is_symlink()
    np.testing.assert_array_equal(np.load(tmp_path / "real.npy"), data[::-1])


def test_failed_output_leaves_the_old_file(build, tmp_path):
    """Two outputs, the second of which can't be written: the first keeps what it held."""
    buffers = [buffer(0, float32, 8, Space.INPUT), buffer(1, float32, 8, Space.OUTPUT),
               buffer(2, float32, 8, Space.OUTPUT, 1)]  # fmt: skip
    tasks = [TaskSpec("add", (0, 0, n), 8) for n in (1, 2)]
    path = build(program(kernels.ADD, tasks, buffers), "two")
    np.save(tmp_path / "x.npy", np.ones(8, "f4"))
    (tmp_path / "y.npy").write_text("old")
    result = run(path, tmp_path / "x.npy", "-o", tmp_path / "y.npy", "-o", tmp_path / "none" / "z.npy")
    refused(result, "none/z.npy can't be written")
    assert (tmp_path / "y.npy").read_text() == "old"
    refused(run(path, tmp_path / "x.npy", "-o", "same", "-o", "same"), "same is named for two outputs")
    assert sorted(os.listdir(tmp_path)) == ["x.npy", "y.npy"]


def test_needs_nothing_but_the_c_library(reverse):
    lines = run("readelf", "-d", reverse).stdout.splitlines()
    needed = {line.split("[")[1].split("]")[0] for line in lines if "NEEDED" in line}
    assert needed and needed <= {"libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2"}
    stack = next(line for line in run("readelf", "-lW", reverse).stdout.splitlines() if "GNU_STACK" in line)
    assert " RWE " not in stack


@pytest.fixture(scope="module")
def twins(build):
    """Two outputs, 8 float32 each."""
    buffers = [buffer(0, float32, 8, Space.INPUT), buffer(1, float32, 8, Space.OUTPUT),
               buffer(2, float32, 8, Space.OUTPUT, 1)]  # fmt: skip
    tasks = [TaskSpec("add", (0, 0, 1), 8, 2), TaskSpec("add", (0, 0, 2), 8, 2)]
    return build(program(kernels.ADD, tasks, buffers), "twins")


@pytest.mark.parametrize("a, b", [
    ("y", "./y"), ("y", "sub/../y"), ("sub/y", "link/y"), ("y", "to_y"), ("to_y", "to_to_y"), ("{}/y", "y"),
    ("old", "./old"),
])  # fmt: skip
def test_one_file_under_two_names(twins, tmp_path, a, b):
    np.save(tmp_path / "x.npy", np.zeros(8, "f4"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to("sub")
    (tmp_path / "to_y").symlink_to("y")
    (tmp_path / "to_to_y").symlink_to(tmp_path / "to_y")
    (tmp_path / "old").write_text("old")
    before = sorted(os.listdir(tmp_path))
    result = run(twins, "x.npy", "-o", a.format(tmp_path), "-o", b.format(tmp_path), cwd=tmp_path)
    refused(result, "is named for two outputs")
    assert sorted(os.listdir(tmp_path)) == before and (tmp_path / "old").read_text() == "old"
    assert run(twins, "x.npy", "-o", "to_y", "-o", "z", cwd=tmp_path).returncode == 0
    assert (tmp_path / "to_y").is_symlink() and (tmp_path / "y").is_file(), "a link to a new file makes that file"


def test_a_file_that_grows_too_large(reverse, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(1000, "f4"))
    (tmp_path / "y.npy").write_text("old")
    result = run(reverse, tmp_path / "x.npy", "-o", tmp_path / "y.npy",
                 preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)))  # fmt: skip
    refused(result, "y.npy can't be written: File too large")
    assert sorted(os.listdir(tmp_path)) == ["x.npy", "y.npy"] and (tmp_path / "y.npy").read_text() == "old"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_end_by_a_signal_leaves_nothing_behind(twins, tmp_path, number):
    """The second output is a pipe that nobody reads, so the first one waits as a temporary file."""
    np.save(tmp_path / "x.npy", np.zeros(8, "f4"))
    os.mkfifo(tmp_path / "pipe")
    command = [twins, "x.npy", "-o", "y.npy", "-o", "pipe"]
    heeds = lambda: signal.signal(number, signal.SIG_DFL)  # noqa: E731 - shells let what they start behind them ignore it
    with subprocess.Popen(command, cwd=tmp_path, preexec_fn=heeds) as process:
        try:
            end = time.monotonic() + 20
            while len(os.listdir(tmp_path)) < 3 and time.monotonic() < end:
                time.sleep(0.01)
            process.send_signal(number)
            assert process.wait(20) == -number
        finally:
            process.kill()
    assert sorted(os.listdir(tmp_path)) == ["pipe", "x.npy"]


def test_processor_that_lacks_a_feature(build):
    """A program for features that this processor lacks refuses to run, instead of dying of an illegal instruction."""
    have = {f[1:] for f in host_target().features.split(",") if f[:1] == "+"}
    lacking = [name for name in CHECKED if name not in have]
    if not lacking or not host_target().is_x86:
        pytest.skip("this processor has everything")
    p = chain(10, 3, 1)
    path = build(p, "modern")
    target = replace(host_target(), features=f"{host_target().features},+{lacking[0]}")
    link_program(path, p, target, ObjectCache(None))
    refused(run(path, "--bench", "1"), f"was compiled for a processor with {lacking[0]}")
    assert run(path, "--help").returncode == 0


def test_compiler_is_asked_for_by_name(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(UnsupportedError, match="apt install gcc libc6-dev"):
        find_compiler(host_target())
    with pytest.raises(UnsupportedError, match="gcc-aarch64-linux-gnu"):
        find_compiler(describe("aarch64-unknown-linux-gnu", "generic", ""))


@pytest.mark.parametrize("threads", ["abc", "-1", "", "2x"])
def test_threads_that_are_no_number_are_refused(build, monkeypatch, threads):
    monkeypatch.setenv("GRAPHC_THREADS", threads)
    refused(run(build(chain(10, 3, 1), "threads"), "--bench", "1"), f"a number of threads, or 0 for all, not {threads}")


def test_the_compiler_may_be_a_command_with_arguments(monkeypatch, tmp_path):
    real = find_compiler(host_target())[0]
    launcher = tmp_path / "launcher"
    launcher.write_text('#!/bin/sh\nexec "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("CC", f"{launcher} {real}")
    assert find_compiler(host_target()) == (str(launcher), real)
    link_program(tmp_path / "program", chain(10, 3, 1), host_target(), ObjectCache(None))
    assert run(tmp_path / "program", "--help").returncode == 0
    monkeypatch.setenv("CC", "true")
    with pytest.raises(UnsupportedError, match="true, which was called, but made no"):
        link_program(tmp_path / "other", chain(10, 3, 1), host_target(), ObjectCache(None))
    monkeypatch.setenv("CC", "nothing-like-it -O2")
    with pytest.raises(UnsupportedError, match="CC=nothing-like-it -O2, which is not on the PATH"):
        find_compiler(host_target())


def test_failing_link_is_an_error_and_leaves_nothing(tmp_path):
    p = replace(chain(10, 3, 1), objects={})
    (tmp_path / "old").write_text("old")
    with pytest.raises(CompileError, match="reverse"):
        link_program(tmp_path / "old", p, host_target(), ObjectCache(None))
    assert [f.name for f in tmp_path.iterdir()] == ["old"] and (tmp_path / "old").read_text() == "old"


def test_c_strings():
    assert c_string('a"b\\c?\n é') == '"a\\042b\\134c\\077\\012 \\303\\251"'


def mutations(seed, count):
    """Files for a float32 (3, 5): sound ones, and those with bytes changed, dropped, doubled, or pieces swapped."""
    random = np.random.default_rng(seed)
    array = random.random((3, 5), "f4")
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5), }"
    bases = [saved(array, v) for v in ((1, 0), (2, 0), (3, 0))] + [npy(header, array.tobytes())]
    words = [b"'", b'"', b"(", b")", b",", b":", b"{", b"}", b"L", b"\0", b"descr", b"shape", b"True", b"<f4",
             b"(3, 5)", b"9" * 30, b"\xff" * 4, b" " * 300]  # fmt: skip
    for _ in range(count):
        file = bytearray(bases[random.integers(len(bases))])
        for _ in range(random.integers(0, 4)):
            at = int(random.integers(len(file) + 1)) if random.random() < 0.3 else int(random.integers(80))
            match random.integers(6):
                case 0:
                    file[at : at + 1] = bytes([random.integers(256)])
                case 1:
                    del file[at : at + int(random.integers(1, 20))]
                case 2:
                    file[at:at] = words[random.integers(len(words))]
                case 3:
                    file[at : at + 5] = words[random.integers(len(words))]
                case 4:
                    file[at:at] = file[at : at + int(random.integers(40))]
                case 5:
                    del file[at:]
        yield bytes(file)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """The reader alone, built with sanitizers that stop at any access or arithmetic that C does not define."""
    path = tmp_path_factory.mktemp("fuzz") / "reader"
    command = ["cc", "-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{FOLDER}", "-o", path,
               Path(__file__).with_name("fuzz_npy.c"), FOLDER / "npy.c"]  # fmt: skip
    sanitized = run(*command, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    if sanitized.returncode:
        assert run(*command).returncode == 0, sanitized.stderr
    return path


def check_reader(reader, seed, count):
    files = list(mutations(seed, count))
    fed = b"".join(struct.pack("<I", len(f)) + f for f in files)
    result = subprocess.run([reader], input=fed, capture_output=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr.decode()[-3000:]
    answers, taken = io.BytesIO(result.stdout), 0
    for file in files:
        if answers.read(1) == b"\1":
            taken += 1
            expected = np.load(io.BytesIO(file), allow_pickle=False)
            assert (expected.dtype, expected.shape) == (np.float32, (3, 5))
            assert answers.read(60) == expected.tobytes()
            assert len(file) == file.rindex(expected.tobytes()) + 60
    assert answers.read() == b""
    assert 0.1 < taken / count < 0.9  # both answers are common, so the test tests


def test_mutated_files_are_read_as_numpy_reads_them_or_refused(reader):
    check_reader(reader, 1, 3000)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_many_mutated_files(reader, seed):
    check_reader(reader, 100 + seed, 30000)
