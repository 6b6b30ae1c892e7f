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
from functools import lru_cache
from string import Template

import numpy as np

from graphc.errors import CompileError
from graphc.types import TensorType

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


def array_call_ir() -> str:
    """The module that defines `graphc_call_arrays` and `graphc_call_addresses`."""
    places = {
        f"{record.__name__.lower()}_{name}": getattr(record, name).offset
        for record in (Call, Expected)
        for name, *_ in record._fields_
    }
    places |= {f"array_{name}": HEADER + getattr(ArrayLayout, name).offset for name, *_ in ArrayLayout._fields_}
    type_offset = HEADER - ctypes.sizeof(c_void_p)  # ob_type ends the header
    return Template(_IR).substitute(
        places, size=ctypes.sizeof(Expected), type=type_offset, carray=CARRAY, no_match=NO_MATCH, stale=STALE,
        away=AWAY,
    )


# @graphc_poll: whether Ctrl-C was pressed. Python's own handler then runs where it always does, after native code.
# @begin: run, unless what a Variable holds is elsewhere, or the prepared work is out of date; the versions of what the
# program writes rise first.
_IR = """
declare i32 @PyGILState_Ensure()
declare void @PyGILState_Release(i32)
declare i32 @PyOS_InterruptOccurred()
declare void @PyErr_SetInterrupt()

define i32 @graphc_poll() {
entry:
  %state = call i32 @PyGILState_Ensure()
  %occurred = call i32 @PyOS_InterruptOccurred()
  %any = icmp ne i32 %occurred, 0
  br i1 %any, label %again, label %done
again:
  call void @PyErr_SetInterrupt()
  br label %done
done:
  call void @PyGILState_Release(i32 %state)
  ret i32 %occurred
}

define internal i64 @begin(ptr %call) {
entry:
  %variables.at = getelementptr i8, ptr %call, i64 $call_variables
  %variables = load i64, ptr %variables.at
  %away.at = getelementptr i8, ptr %call, i64 $call_away
  %away = load ptr, ptr %away.at
  %watched.at = getelementptr i8, ptr %call, i64 $call_watched
  %watched = load i64, ptr %watched.at
  %versions.at = getelementptr i8, ptr %call, i64 $call_versions
  %versions = load ptr, ptr %versions.at
  %seen.at = getelementptr i8, ptr %call, i64 $call_seen
  %seen = load ptr, ptr %seen.at
  %changed.at = getelementptr i8, ptr %call, i64 $call_changed
  %changed = load i64, ptr %changed.at
  %raised.at = getelementptr i8, ptr %call, i64 $call_raised
  %raised = load ptr, ptr %raised.at
  br label %find
find:
  %v = phi i64 [ 0, %entry ], [ %v.next, %look ]
  %unseen = icmp ult i64 %v, %variables
  br i1 %unseen, label %look, label %watch
look:
  %flag.at = getelementptr ptr, ptr %away, i64 %v
  %flag.place = load ptr, ptr %flag.at
  %flag = load i64, ptr %flag.place
  %is.home = icmp eq i64 %flag, 0
  %v.next = add i64 %v, 1
  br i1 %is.home, label %find, label %away.from.here
watch:
  %i = phi i64 [ 0, %find ], [ %i.next, %compare ]
  %more = icmp ult i64 %i, %watched
  br i1 %more, label %compare, label %next
compare:
  %version.at = getelementptr ptr, ptr %versions, i64 %i
  %version.place = load ptr, ptr %version.at
  %version = load i64, ptr %version.place
  %old.at = getelementptr i64, ptr %seen, i64 %i
  %old = load i64, ptr %old.at
  %same = icmp eq i64 %version, %old
  %i.next = add i64 %i, 1
  br i1 %same, label %watch, label %stale
next:
  %k = phi i64 [ 0, %watch ], [ %k.next, %raise ]
  %writes = icmp ult i64 %k, %changed
  br i1 %writes, label %raise, label %run
raise:
  %cell.at = getelementptr ptr, ptr %raised, i64 %k
  %cell = load ptr, ptr %cell.at
  %before = load i64, ptr %cell
  %after = add i64 %before, 1
  store i64 %after, ptr %cell
  %k.next = add i64 %k, 1
  br label %next
run:
  %run.at = getelementptr i8, ptr %call, i64 $call_run
  %function = load ptr, ptr %run.at
  %context.at = getelementptr i8, ptr %call, i64 $call_context
  %context = load ptr, ptr %context.at
  %team.at = getelementptr i8, ptr %call, i64 $call_team
  %team = load ptr, ptr %team.at
  %status = call i64 %function(ptr %context, ptr %team)
  ret i64 %status
stale:
  ret i64 $stale
away.from.here:
  ret i64 $away
}

define i64 @graphc_call_addresses(ptr %call, ptr %addresses) {
entry:
  %arrays.at = getelementptr i8, ptr %call, i64 $call_arrays
  %arrays = load i64, ptr %arrays.at
  %expected.at = getelementptr i8, ptr %call, i64 $call_expected
  %expected = load ptr, ptr %expected.at
  %buffers.at = getelementptr i8, ptr %call, i64 $call_buffers
  %buffers = load ptr, ptr %buffers.at
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i.next, %place ]
  %more = icmp ult i64 %i, %arrays
  br i1 %more, label %place, label %run
place:
  %address.at = getelementptr ptr, ptr %addresses, i64 %i
  %address = load ptr, ptr %address.at
  %offset = mul i64 %i, $size
  %want = getelementptr i8, ptr %expected, i64 %offset
  %number.at = getelementptr i8, ptr %want, i64 $expected_number
  %number = load i64, ptr %number.at
  %buffer = getelementptr ptr, ptr %buffers, i64 %number
  store ptr %address, ptr %buffer
  %i.next = add i64 %i, 1
  br label %next
run:
  %status = call i64 @begin(ptr %call)
  ret i64 %status
}

define i64 @graphc_call_arrays(ptr %call, ptr %objects) {
entry:
  %inputs.at = getelementptr i8, ptr %call, i64 $call_inputs
  %inputs = load i64, ptr %inputs.at
  %arrays.at = getelementptr i8, ptr %call, i64 $call_arrays
  %arrays = load i64, ptr %arrays.at
  %expected.at = getelementptr i8, ptr %call, i64 $call_expected
  %expected = load ptr, ptr %expected.at
  %buffers.at = getelementptr i8, ptr %call, i64 $call_buffers
  %buffers = load ptr, ptr %buffers.at
  %array.type.at = getelementptr i8, ptr %call, i64 $call_array_type
  %array.type = load ptr, ptr %array.type.at
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i.next, %place ]
  %more = icmp ult i64 %i, %arrays
  br i1 %more, label %look, label %run
look:
  %object.at = getelementptr ptr, ptr %objects, i64 %i
  %object = load ptr, ptr %object.at
  %offset = mul i64 %i, $size
  %want = getelementptr i8, ptr %expected, i64 %offset
  %is.input = icmp ult i64 %i, %inputs
  br i1 %is.input, label %check.type, label %place
check.type:
  %type.at = getelementptr i8, ptr %object, i64 $type
  %type = load ptr, ptr %type.at
  %is.array = icmp eq ptr %type, %array.type
  br i1 %is.array, label %check.header, label %no.match
check.header:
  %descr.at = getelementptr i8, ptr %object, i64 $array_descr
  %descr = load ptr, ptr %descr.at
  %want.descr.at = getelementptr i8, ptr %want, i64 $expected_descr
  %want.descr = load ptr, ptr %want.descr.at
  %same.descr = icmp eq ptr %descr, %want.descr
  %flags.at = getelementptr i8, ptr %object, i64 $array_flags
  %flags = load i32, ptr %flags.at
  %flags.kept = and i32 %flags, $carray
  %same.flags = icmp eq i32 %flags.kept, $carray
  %ndim.at = getelementptr i8, ptr %object, i64 $array_ndim
  %ndim.32 = load i32, ptr %ndim.at
  %ndim = zext i32 %ndim.32 to i64
  %want.ndim.at = getelementptr i8, ptr %want, i64 $expected_ndim
  %want.ndim = load i64, ptr %want.ndim.at
  %same.ndim = icmp eq i64 %ndim, %want.ndim
  %same.two = and i1 %same.descr, %same.flags
  %same = and i1 %same.two, %same.ndim
  %shape.at = getelementptr i8, ptr %object, i64 $array_shape
  %shape = load ptr, ptr %shape.at
  %want.shape.at = getelementptr i8, ptr %want, i64 $expected_shape
  %want.shape = load ptr, ptr %want.shape.at
  br i1 %same, label %check.size, label %no.match
check.size:
  %k = phi i64 [ 0, %check.header ], [ %k.next, %same.size.so.far ]
  %sizes.left = icmp ult i64 %k, %ndim
  br i1 %sizes.left, label %compare.size, label %place
compare.size:
  %size.at = getelementptr i64, ptr %shape, i64 %k
  %size = load i64, ptr %size.at
  %want.size.at = getelementptr i64, ptr %want.shape, i64 %k
  %want.size = load i64, ptr %want.size.at
  %same.size = icmp eq i64 %size, %want.size
  br i1 %same.size, label %same.size.so.far, label %no.match
same.size.so.far:
  %k.next = add i64 %k, 1
  br label %check.size
place:
  %data.at = getelementptr i8, ptr %object, i64 $array_data
  %data = load ptr, ptr %data.at
  %number.at = getelementptr i8, ptr %want, i64 $expected_number
  %number = load i64, ptr %number.at
  %buffer = getelementptr ptr, ptr %buffers, i64 %number
  store ptr %data, ptr %buffer
  %i.next = add i64 %i, 1
  br label %next
run:
  %status = call i64 @begin(ptr %call)
  ret i64 %status
no.match:
  ret i64 $no_match
}
"""
