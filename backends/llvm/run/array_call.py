"""The call: native code looks into NumPy's arrays itself, and runs the program if they are what it expects.

In: a program's context, the types of its inputs, the versions of its Variables. Out: a call that takes Python objects,
and one that takes addresses. Asking an array for dtype, shape, flags and address in Python takes longer than all of
this.

From the arguments to the status a call is one step for Python: a signal handler or a finalizer, which runs between two
of Python's steps and may call the same program, finds it before or after, never with its tables half filled.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Mapping, Sequence
from ctypes import c_char_p, c_int64, c_void_p
from functools import lru_cache, reduce

import numpy as np

from graphc.errors import CompileError
from graphc.types import TensorType

from ..emit.text import Code
from ..target import Target
from . import jit
from .cache import ObjectCache, cache_key

# Statuses beside those of `native`. Nothing has run.
NO_MATCH = -2  # an object is no array, or not one as expected
STALE = -3  # a Variable has changed since the prepared work was done
AWAY = -5  # what a Variable holds now is in a device's memory


class Expected(ctypes.Structure):
    """An input or output: the number of its buffer, and what its array must be like (inputs only)."""

    _fields_ = (("number", c_int64), ("descr", c_void_p), ("ndim", c_int64), ("shape", c_void_p))


class Call(ctypes.Structure):
    """All that a call needs but the objects' own contents."""

    _fields_ = (
        ("run", c_void_p),  # graphc_call
        ("context", c_void_p),
        ("team", c_void_p),
        ("buffers", c_void_p),  # ptr[]: where the arrays' addresses go
        ("array_type", c_void_p),  # NumPy's ndarray; subclasses are refused
        ("inputs", c_int64),
        ("arrays", c_int64),  # inputs and outputs
        ("expected", c_void_p),  # Expected[arrays]
        ("variables", c_int64),  # all
        ("away", c_void_p),  # i64 *[variables]: not 0 where what one holds now is not in the host's memory
        ("watched", c_int64),  # what prepared work was made from
        ("versions", c_void_p),  # i64 *[watched]: where the versions are
        ("seen", c_void_p),  # i64[watched]: what they were then
        ("changed", c_int64),  # Variables that the program writes
        ("raised", c_void_p),  # i64 *[changed]: their versions, which rise with each run
    )


class ArrayLayout(ctypes.Structure):
    """What follows an ndarray's object header: `PyArrayObject_fields` of NumPy's C API, the same in 1 and 2."""

    _fields_ = (
        ("data", c_void_p),
        ("ndim", ctypes.c_int),
        ("shape", c_void_p),
        ("strides", c_void_p),
        ("base", c_void_p),
        ("descr", c_void_p),
        ("flags", ctypes.c_int),
    )


HEADER = object.__basicsize__
TYPE = HEADER - ctypes.sizeof(c_void_p)  # where an object's type is: `ob_type` ends the header
CARRAY = 0x0101  # NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED


class ArrayCall:
    """A program's call. The record is set up once; a call packs addresses and jumps."""

    def __init__(
        self, code: Mapping[str, int], run: int, context: int, team: int, buffers: int,
        inputs: Sequence[tuple[int, TensorType]], outputs: Sequence[int],
        away: Sequence[int], watched: Sequence[int], changed: Sequence[int],
    ) -> None:  # fmt: skip
        """`code`: of `array_call_object`. `run`, `context`, `team`, `buffers`: addresses. `inputs`: buffer number and
        type of each; `outputs`: buffer numbers. `away`: addresses of flags, and `watched`, `changed`: of versions, see
        `Call`."""
        check_layout()
        shapes = [(c_int64 * max(1, t.ndim))(*t.shape) for _, t in inputs]
        known = [
            Expected(number, id(t.dtype.numpy), t.ndim, ctypes.addressof(shape))
            for (number, t), shape in zip(inputs, shapes, strict=True)
        ]
        self._count = len(inputs) + len(outputs)
        expected = (Expected * max(1, self._count))(*known, *(Expected(number) for number in outputs))
        flags, versions, raised = ((c_void_p * max(1, len(a)))(*a) for a in (away, watched, changed))
        self._seen = (c_int64 * max(1, len(watched)))(*[-1] * len(watched))
        at = ctypes.addressof
        record = Call(
            run, context, team, buffers, id(np.ndarray), len(inputs), self._count, at(expected),
            len(away), at(flags), len(watched), at(versions), at(self._seen), len(changed), at(raised),
        )  # fmt: skip
        self._keep = (code, shapes, expected, flags, versions, raised, record, [t.dtype.numpy for _, t in inputs])
        self._pack = struct.Struct(f"{self._count}N").pack
        self._record = at(record)
        function = ctypes.CFUNCTYPE(c_int64, c_void_p, c_char_p)
        self._arrays = function(code["graphc_call_arrays"])
        self._addresses = function(code["graphc_call_addresses"])

    def __call__(self, objects: Iterable[object]) -> int:
        """The status; NO_MATCH, and nothing has run, unless the first objects are arrays just as the inputs' types
        say. The others are arrays for the outputs."""
        status: int = self._arrays(self._record, self._pack(*map(id, objects)))
        return status

    def at(self, addresses: Sequence[int]) -> int:
        """The status of a call with these addresses of the inputs and outputs."""
        if len(addresses) != self._count:
            raise CompileError(f"the program takes {self._count} addresses", got=f"{len(addresses)}")
        status: int = self._addresses(self._record, self._pack(*addresses))
        return status

    def is_ready(self, versions: Sequence[int]) -> bool:
        """Whether the prepared work was done from these versions."""
        return list(versions) == self._seen[: len(versions)]

    def prepared(self, versions: Sequence[int]) -> None:
        """Note that the prepared work was done from these versions, or later ones: a call is STALE if they differ."""
        self._seen[: len(versions)] = list(versions)


SYMBOLS = ("graphc_call_arrays", "graphc_call_addresses", "graphc_poll")


@lru_cache(maxsize=1)
def check_layout() -> None:
    """Raise CompileError unless arrays in memory are as `ArrayLayout` says."""
    array = np.zeros((3, 5), np.float32)[:, :4]
    found = ArrayLayout.from_address(id(array) + HEADER)
    shape = (c_int64 * 2).from_address(found.shape)
    if (found.data, found.ndim, *shape, found.descr, found.flags) != (
        array.ctypes.data, 2, 3, 4, id(array.dtype), array.flags.num,
    ):  # fmt: skip
        raise CompileError("this NumPy keeps its arrays in an unknown way", got=f"NumPy {np.__version__}")


def array_call_object(target: Target, cache: ObjectCache) -> bytes:
    """The object file that defines `i64 graphc_call_arrays(ptr call, ptr objects)`, and the same of addresses."""
    text = array_call_ir()
    key = cache_key("array call", text, target.key)
    return cache.fetch(key, lambda: jit.compile_object(text, target, level=jit.QUICK))


DECLARATIONS = """
declare i32 @PyGILState_Ensure()
declare void @PyGILState_Release(i32)
declare i32 @PyOS_InterruptOccurred()
declare void @PyErr_SetInterrupt()
"""


def array_call_ir() -> str:
    """The module that defines `graphc_call_arrays`, `graphc_call_addresses` and `graphc_poll`."""
    return "\n".join([DECLARATIONS, _poll(), _begin(), _call_addresses(), _call_arrays()])


def _poll() -> str:
    """Whether Ctrl-C was pressed. Python's own handler then runs where it always does, after native code."""
    code = Code()
    state = code.let("call i32 @PyGILState_Ensure()")
    occurred = code.let("call i32 @PyOS_InterruptOccurred()")
    with code.when(code.let(f"icmp ne i32 {occurred}, 0")):
        code.do("call void @PyErr_SetInterrupt()")
    code.do(f"call void @PyGILState_Release(i32 {state})")
    code.do(f"ret i32 {occurred}")
    return code.function("i32 @graphc_poll()", "")


def _begin() -> str:
    """Run, unless what a Variable holds is elsewhere, or the prepared work is out of date; the versions of what the
    program writes rise first."""
    code = Code()
    # All that is read of the call comes first, so that it does not wait for what is stored meanwhile.
    names = ("variables", "away", "watched", "versions", "seen", "changed", "raised")
    variables, away, watched, versions, seen, changed, raised = (code.get(Call, "%call", n) for n in names)

    def pointed_to(table: str, number: str) -> tuple[str, str]:
        """A pointer in a table, and the i64 there."""
        place = code.let(f"load ptr, ptr {code.element(table, 'ptr', number)}")
        return place, code.let(f"load i64, ptr {place}")

    with code.each(0, variables) as number:
        _, flag = pointed_to(away, number)
        code.give_back_unless(code.let(f"icmp eq i64 {flag}, 0"), f"i64 {AWAY}")
    with code.each(0, watched) as number:
        _, version = pointed_to(versions, number)
        old = code.let(f"load i64, ptr {code.element(seen, 'i64', number)}")
        code.give_back_unless(code.let(f"icmp eq i64 {version}, {old}"), f"i64 {STALE}")
    with code.each(0, changed) as number:
        place, version = pointed_to(raised, number)
        code.do(f"store i64 {code.let(f'add i64 {version}, 1')}, ptr {place}")
    run, context, team = (code.get(Call, "%call", n) for n in ("run", "context", "team"))
    code.do(f"ret i64 {code.let(f'call i64 {run}(ptr {context}, ptr {team})')}")
    return code.function("internal i64 @begin(ptr %call)", "")


def _call_addresses() -> str:
    code = Code()
    names = ("arrays", "expected", "buffers")
    arrays, expected, buffers = (code.get(Call, "%call", name) for name in names)
    with code.each(0, arrays) as number:
        address = code.let(f"load ptr, ptr {code.element('%addresses', 'ptr', number)}")
        _place(code, buffers, code.row(Expected, expected, number), address)
    code.do(f"ret i64 {code.let('call i64 @begin(ptr %call)')}")
    return code.function("i64 @graphc_call_addresses(ptr %call, ptr %addresses)", "")


def _call_arrays() -> str:
    code = Code()
    names = ("inputs", "arrays", "expected", "buffers", "array_type")
    inputs, arrays, expected, buffers, array_type = (code.get(Call, "%call", name) for name in names)
    with code.each(0, arrays) as number:
        array = code.let(f"load ptr, ptr {code.element('%objects', 'ptr', number)}")
        wanted = code.row(Expected, expected, number)
        layout = code.element(array, "i8", HEADER)
        with code.when(code.let(f"icmp ult i64 {number}, {inputs}")):
            type_ = code.let(f"load ptr, ptr {code.element(array, 'i8', TYPE)}")
            code.give_back_unless(code.let(f"icmp eq ptr {type_}, {array_type}"), f"i64 {NO_MATCH}")
            _check_array(code, layout, wanted)
        _place(code, buffers, wanted, code.get(ArrayLayout, layout, "data"))
    code.do(f"ret i64 {code.let('call i64 @begin(ptr %call)')}")
    return code.function("i64 @graphc_call_arrays(ptr %call, ptr %objects)", "")


def _check_array(code: Code, layout: str, wanted: str) -> None:
    """Return NO_MATCH unless an array has the dtype and the shape that are wanted, and lies in order."""
    flags = code.let(f"and i32 {code.get(ArrayLayout, layout, 'flags')}, {CARRAY}")
    ndim = code.let(f"zext i32 {code.get(ArrayLayout, layout, 'ndim')} to i64")
    same = [
        code.let(f"icmp eq ptr {code.get(ArrayLayout, layout, 'descr')}, {code.get(Expected, wanted, 'descr')}"),
        code.let(f"icmp eq i32 {flags}, {CARRAY}"),
        code.let(f"icmp eq i64 {ndim}, {code.get(Expected, wanted, 'ndim')}"),
    ]
    code.give_back_unless(reduce(lambda a, b: code.let(f"and i1 {a}, {b}"), same), f"i64 {NO_MATCH}")
    shapes = code.get(ArrayLayout, layout, "shape"), code.get(Expected, wanted, "shape")
    with code.each(0, ndim) as axis:
        size, other = (code.let(f"load i64, ptr {code.element(shape, 'i64', axis)}") for shape in shapes)
        code.give_back_unless(code.let(f"icmp eq i64 {size}, {other}"), f"i64 {NO_MATCH}")


def _place(code: Code, buffers: str, wanted: str, address: str) -> None:
    """Put an address where the program finds the buffer."""
    at = code.element(buffers, "ptr", code.get(Expected, wanted, "number"))
    code.do(f"store ptr {address}, ptr {at}")
