"""Standalone programs: a `NativeProgram` linked with a command line, needing nothing but libc, libm and threads.

In: the program, its target, where to put it. Out: an executable file. The tables are generated as C, the constants are
included as they are, the runtime is the one that Python uses, and the system's C compiler compiles and links.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from string import Template

import numpy as np

from graphc.errors import CompileError, UnsupportedError
from graphc.files import destination, put_in_place
from graphc.schedule import Buffer, Space
from graphc.storage import ALIGNMENT

from ..features import CHECKED, needed
from ..native import Context, ContextFlags, Control, NativeProgram, Swap, Table, Task, Team, WindowRow
from ..run.cache import ObjectCache, cache_key
from ..run.team import SPIN, runtime_object
from ..target import Target

FOLDER = Path(__file__).parent.resolve()
SOURCES = ("program.c", "npy.c", "threads.c", "features.c")
HEADERS = ("program.h", "npy.h")
LINK = "-Wl,--build-id=none"  # a build id hashes all constants
LARGEST_DATA = 2**31 - 2**27  # bytes: code and constants reach each other by 32-bit distances


def link_program(
    path: Path,
    program: NativeProgram,
    target: Target,
    cache: ObjectCache,
    variables: Sequence[np.ndarray] = (),
    compiler: Sequence[str] | None = None,
    outputs: Sequence[str] = (),
    flush: bool = False,
) -> None:
    """Write an executable to `path`, replacing what is there once it is complete.

    `variables`: initial values of the VARIABLE buffers by position; each run of the program starts from them.
    `compiler`: the C compiler's command; None for the one that suits the target. `cache` keeps the runtime and the
    command line.
    `outputs`: their names, by position, if they have some. `flush`: take subnormal numbers for 0.
    Raises UnsupportedError where there is no compiler or the data are too large, CompileError if linking fails.
    """
    size = sum(a.nbytes for a in (*program.constants, *variables))
    if size > LARGEST_DATA:
        raise UnsupportedError("a program holds at most 1.9 GB of constants and variables", got=f"{size} bytes")
    compiler = tuple(compiler or find_compiler(target))
    place = destination(path)
    with tempfile.TemporaryDirectory(prefix=f".{place.name[:100]}-", dir=place.parent) as folder:
        work = Path(folder)
        (work / "native.h").write_text(native_header())
        (work / "model.c").write_text(model_source(program, target, variables, outputs, flush))
        _write_data(work / "constants.bin", program.constants)
        _write_data(work / "variables.bin", variables)
        objects = (*_command_line(work, compiler, cache), runtime_object(target, cache), *program.objects.values())
        names = [f"{number}.o" for number in range(len(objects))]
        for name, data in zip(names, objects, strict=True):
            (work / name).write_bytes(data)
        _run(work, compiler, {"program": ("model.c", *names, "-lm", LINK)})
        put_in_place(work / "program", place)


def _command_line(work: Path, compiler: tuple[str, ...], cache: ObjectCache) -> list[bytes]:
    """The object files of our own C sources."""
    found = os.stat(compiler[0])
    headers = [native_header(), *((FOLDER / h).read_text() for h in HEADERS)]
    who = (compiler, found.st_size, found.st_mtime_ns)
    keys = {s: cache_key("command line", (FOLDER / s).read_text(), headers, who) for s in SOURCES}
    kept = {s: cache.get(key) for s, key in keys.items()}
    missing = [s for s, data in kept.items() if data is None]
    _run(work, compiler, {f"{s}.o": ("-c", str(FOLDER / s)) for s in missing})
    made = {s: (work / f"{s}.o").read_bytes() for s in missing}
    for source, data in made.items():
        cache.put(keys[source], data)
    return [data for data in (*kept.values(), *made.values()) if data is not None]


def _run(work: Path, compiler: tuple[str, ...], made: Mapping[str, Sequence[str]]) -> None:
    """Make each of these files in the folder, from what is named for it, all at once.

    Raises CompileError with what the compiler says, UnsupportedError for one that says nothing and makes nothing.
    """
    fixed = (*compiler, "-std=c11", "-O1", "-pthread", "-I.", f"-I{FOLDER}")
    running = [
        subprocess.Popen([*fixed, *inputs, "-o", name], cwd=work, stderr=subprocess.PIPE, text=True)
        for name, inputs in made.items()
    ]
    errors = [process.communicate()[1] for process in running]
    command = " ".join(compiler)
    if any(process.returncode for process in running):
        raise CompileError(f"the C compiler, {command}, can't make the program", got="".join(errors).strip()[-2000:])
    if missing := [name for name in made if not (work / name).is_file()]:
        raise UnsupportedError(
            "building a program needs a C compiler",
            got=f"{command}, which was called, but made no {missing[0]}",
            hint="set CC to a C compiler, or to nothing",
        )


def find_compiler(target: Target) -> tuple[str, ...]:
    """The command of the C compiler for a target: $CC, which may have arguments, as in `ccache gcc`, else cc, gcc or
    clang; for another processor GNU's cross compiler. Raises UnsupportedError that says what to install."""
    architecture = target.triple.partition("-")[0]
    native = architecture == platform.machine()
    names = ["cc", "gcc", "clang"] if native else [f"{architecture}-linux-gnu-gcc"]
    own = shlex.split(os.environ.get("CC", ""))
    if own:
        names = own[:1]
    for name in names:
        found = shutil.which(name)
        if found:
            return (found, *own[1:])
    package = "gcc" if native else f"gcc-{architecture.replace('_', '-')}-linux-gnu"
    raise UnsupportedError(
        "building a program needs a C compiler",
        got=f"CC={os.environ['CC']}, which is not on the PATH" if own else f"no {' and no '.join(names)} on the PATH",
        hint=f"install one (Debian, Ubuntu: apt install {package} libc6-dev) or name one in CC",
    )


def native_header() -> str:
    """The records of `native`, in C."""
    types = {ctypes.c_void_p: "void *", ctypes.c_int64: "int64_t ", ctypes.c_int32: "int32_t "}
    lines = ["#include <stddef.h>", "#include <stdint.h>"]
    for record in (Task, Control, WindowRow, Swap, Context, Team):
        name = record.__name__
        fields = [(f[0], f[1], getattr(record, f[0]).offset) for f in record._fields_]
        lines.append(f"struct {name} {{")
        lines += [f"    {types[t]}{f};" if t in types else f"    char {f}[{ctypes.sizeof(t)}];" for f, t, _ in fields]
        lines.append("};")
        lines += [f'_Static_assert(offsetof(struct {name}, {f}) == {o}, "{name}.{f}");' for f, _, o in fields]
    lines.append(f"enum {{ SEQUENTIAL = {ContextFlags.SEQUENTIAL.value}, SPIN = {SPIN} }};")
    return "\n".join(lines) + "\n"


def model_source(
    program: NativeProgram, target: Target, variables: Sequence[np.ndarray], outputs: Sequence[str] = (),
    flush: bool = False,
) -> str:  # fmt: skip
    """The tables of a program, in C. It includes constants.bin and variables.bin, which `_write_data` writes."""
    numbers = {symbol: number for number, symbol in enumerate(program.symbols)}
    places = {
        "arena": [(b, b.offset) for b in program.in_space(Space.ARENA)],
        "prepared": [(b, b.offset) for b in program.in_space(Space.PREPARED)],
        "constants": _placed(program.in_space(Space.CONSTANT), program.constants),
        "variables": _placed(program.in_space(Space.VARIABLE), variables),
    }
    return Template(_MODEL).substitute(
        functions="\n".join(f"void f{n}(void) __asm__({c_string(s)});" for s, n in numbers.items()),
        inputs=_tensors(program.in_space(Space.INPUT), "input"),
        outputs=_tensors(program.in_space(Space.OUTPUT), "output", outputs),
        prepare=_tasks("prepare", program.prepare, numbers, flush),
        steps=_tasks("steps", program.main, numbers, flush),
        places="\n".join(_places(name, found) for name, found in places.items()),
        target=c_string(f"{target.triple} {target.cpu}".strip()),
        buffers=len(program.buffers),
        arena_bytes=program.arena_bytes,
        prepared_bytes=program.prepared_bytes,
        features="\n".join(_feature(name) for name in needed(target.features)) if target.is_x86 else "",
        alignment=ALIGNMENT,
    )


def _feature(name: str) -> str:
    return f"    {{{c_string(name)}, {', '.join(map(str, CHECKED[name]))}}},"


def c_string(text: str) -> str:
    """A C string literal of the text's UTF-8 bytes."""
    plain = set(b" !#$%&'()*+,-./:;<=>@[]^_`{|}~") | set(b"0123456789")
    plain |= set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in text.encode()) + '"'


def _tasks(name: str, steps: Table, numbers: dict[str, int], flush: bool) -> str:
    tasks = steps.tasks
    slots = [s for t in tasks for s in t.slots]
    table, where, start = [], [], 0
    for t, row in zip(tasks, steps.numbers(), strict=True):
        values = f"(void *)f{numbers[t.symbol]}, (void *)({name}_slots + {start}), {', '.join(map(str, row))}"
        table.append(f"{{{values}}}")
        where.append(c_string(t.where))
        start += len(t.slots)
    flags = int(ContextFlags.SEQUENTIAL if steps.is_sequential else 0) | int(ContextFlags.FLUSH if flush else 0)
    control = [_records(f"{name}_{r.__name__}", r, rows) for r, rows in steps.records()]
    given = ", ".join(f"{name}_{record.__name__}" for record, _ in steps.records())
    if not tasks:
        where, table = ['""'], ["{0}"]
    return (
        f"static const int32_t {name}_slots[] = {{{', '.join(map(str, slots)) or '0'}}};\n"
        f"static const struct Task {name}_rows[] = {{\n    {_lines(table)}}};\n"
        f"static const char *const {name}_where[] = {{\n    {_lines(where)}}};\n"
        + "".join(control)
        + f"#define {name.upper()} {{{len(tasks)}, {name}_rows, {name}_where, {len(steps.rows)}, {given}, {flags}}}"
    )


def _records(name: str, record: type[ctypes.Structure], rows: Sequence[Sequence[int]]) -> str:
    texts = [f"{{{', '.join(map(str, row))}}}" for row in rows]
    return f"static const struct {record.__name__} {name}[] = {{\n    {_lines(texts)}}};\n"


def _tensors(buffers: Sequence[Buffer], name: str, names: Sequence[str] = ()) -> str:
    rows = []
    for b in buffers:
        numpy = b.type.dtype.numpy
        shape = f"(const int64_t[]){{{', '.join(map(str, b.type.shape)) or '0'}}}"
        own = names[b.position] if names else b.name or f"{name}{b.position}"
        texts = (own.replace(" ", "_").replace("/", "_"), b.type.dtype.name, numpy.str)
        rows.append(f"{{{', '.join(map(c_string, texts))}, {b.type.ndim}, {shape}, {b.type.nbytes}, {b.number}}}")
    return (
        f"static const struct tensor {name}s[] = {{\n    {_lines(rows)}}};\n"
        f"#define {name.upper()}S {{{len(rows)}, {name}s}}"
    )


def _places(name: str, places: Sequence[tuple[Buffer, int]]) -> str:
    rows = [f"{{{b.number}, {offset}}}" for b, offset in places]
    return (
        f"static const struct place {name}_places[] = {{\n    {_lines(rows)}}};\n"
        f"#define {name.upper()} {{{len(rows)}, {name}_places}}"
    )


def _lines(rows: Iterable[str]) -> str:
    return ",\n    ".join(rows) or "{0}"


def _placed(buffers: Sequence[Buffer], arrays: Sequence[np.ndarray]) -> list[tuple[Buffer, int]]:
    """Each buffer with the offset of its array in the file that `_write_data` makes."""
    offsets = list(accumulate((a.nbytes + -a.nbytes % ALIGNMENT for a in arrays), initial=0))
    return [(b, offsets[b.position]) for b in buffers]


def _write_data(path: Path, arrays: Sequence[np.ndarray]) -> None:
    with path.open("wb") as file:
        for array in arrays:
            np.ascontiguousarray(array).tofile(file)
            file.write(bytes(-array.nbytes % ALIGNMENT))
        file.write(bytes(ALIGNMENT))  # so that there is something to include


_MODEL = r"""#include "program.h"

$functions

$inputs
$outputs
$prepare
$steps
$places

__asm__(".section .rodata.graphc,\"a\"\n.balign $alignment\ngraphc_constants:\n.incbin \"constants.bin\"\n"
        ".section .data.graphc,\"aw\"\n.balign $alignment\ngraphc_variables:\n.incbin \"variables.bin\"\n"
        ".text\n");
extern const unsigned char graphc_constants[];
extern unsigned char graphc_variables[];

static const struct feature features[] = {
$features
    {NULL, 0, 0, 0, 0, 0}};

const struct model graphc_model = {
    $target, $buffers, INPUTS, OUTPUTS, PREPARE, STEPS, ARENA, PREPARED, CONSTANTS, VARIABLES,
    $arena_bytes, $prepared_bytes, graphc_constants, graphc_variables, features,
};
"""
