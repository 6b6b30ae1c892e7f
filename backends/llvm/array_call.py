"""The quick call: native code looks into NumPy's arrays itself, and runs the program if they are what it expects.

In: a program's context, the types of its inputs. Out: a call that takes Python objects. Asking an array for dtype,
shape, flags and address in Python takes longer than all of this; so does a lock that the caller holds already.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Sequence
from ctypes import c_int64, c_void_p
from functools import lru_cache
from string import Template

import numpy as np

from graphc.errors import CompileError
from graphc.types import TensorType

from . import jit
from .cache import ObjectCache, cache_key
from .target import Target

NO_MATCH = -2  # a status beside those of `native`: an object is no array, or not one as expected


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
        ("objects", c_void_p),  # PyObject *[arrays]
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
    """A program's quick call. The records are set up once; a call writes the objects' addresses and jumps."""

    def __init__(
        self, function: int, run: int, context: int, team: int, buffers: int,
        inputs: Sequence[tuple[int, TensorType]], outputs: Sequence[int],
    ) -> None:  # fmt: skip
        """`function`: of `array_call_object`. `run`, `context`, `team`, `buffers`: addresses. `inputs`: buffer number
        and type of each; `outputs`: buffer numbers."""
        check_layout()
        shapes = [(c_int64 * max(1, t.ndim))(*t.shape) for _, t in inputs]
        known = [
            Expected(number, id(t.dtype.numpy), t.ndim, ctypes.addressof(shape))
            for (number, t), shape in zip(inputs, shapes, strict=True)
        ]
        count = len(inputs) + len(outputs)
        expected = (Expected * max(1, count))(*known, *(Expected(number) for number in outputs))
        objects = (c_void_p * max(1, count))()
        record = Call(
            run, context, team, buffers, id(np.ndarray), len(inputs), count,
            ctypes.addressof(expected), ctypes.addressof(objects),
        )  # fmt: skip
        self._keep = (shapes, expected, record, [t.dtype.numpy for _, t in inputs])
        self._objects = objects
        self._pack = struct.Struct(f"{count}N").pack_into
        self._record = ctypes.addressof(record)
        self._function = ctypes.CFUNCTYPE(c_int64, c_void_p)(function)

    def __call__(self, objects: Iterable[object]) -> int:
        """The status; NO_MATCH, and nothing has run, unless the first objects are arrays just as the inputs' types
        say. The others are arrays for the outputs."""
        self._pack(self._objects, 0, *map(id, objects))
        status: int = self._function(self._record)
        return status


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
    """The object file that defines `i64 graphc_call_arrays(ptr call)`."""
    text = array_call_ir()
    return cache.fetch(cache_key("array call", text, target.key), lambda: jit.compile_object(text, target))


def array_call_ir() -> str:
    """The module that defines `graphc_call_arrays`."""
    places = {
        f"{record.__name__.lower()}_{name}": getattr(record, name).offset
        for record in (Call, Expected)
        for name, *_ in record._fields_
    }
    places |= {f"array_{name}": HEADER + getattr(ArrayLayout, name).offset for name, *_ in ArrayLayout._fields_}
    type_offset = HEADER - ctypes.sizeof(c_void_p)  # ob_type ends the header
    return Template(_IR).substitute(
        places, size=ctypes.sizeof(Expected), type=type_offset, carray=CARRAY, no_match=NO_MATCH
    )


_IR = """
define i64 @graphc_call_arrays(ptr %call) {
entry:
  %inputs.at = getelementptr i8, ptr %call, i64 $call_inputs
  %inputs = load i64, ptr %inputs.at
  %arrays.at = getelementptr i8, ptr %call, i64 $call_arrays
  %arrays = load i64, ptr %arrays.at
  %expected.at = getelementptr i8, ptr %call, i64 $call_expected
  %expected = load ptr, ptr %expected.at
  %objects.at = getelementptr i8, ptr %call, i64 $call_objects
  %objects = load ptr, ptr %objects.at
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
  %run.at = getelementptr i8, ptr %call, i64 $call_run
  %function = load ptr, ptr %run.at
  %context.at = getelementptr i8, ptr %call, i64 $call_context
  %context = load ptr, ptr %context.at
  %team.at = getelementptr i8, ptr %call, i64 $call_team
  %team = load ptr, ptr %team.at
  %status = call i64 %function(ptr %context, ptr %team)
  ret i64 %status
no.match:
  ret i64 $no_match
}
"""
