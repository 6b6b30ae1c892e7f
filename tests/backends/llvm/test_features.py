"""Features of processors: generated code uses those that programs look for, and they look in the right places."""

import ctypes
import shutil
import subprocess

import llvmlite.binding as llvm
import pytest

from graphc.backends.llvm.features import BASE, CHECKED, Bit, closed, needed
from graphc.backends.llvm.ship.program import FOLDER, native_header
from graphc.backends.llvm.target import host_target

is_x86 = pytest.mark.skipif(not host_target().is_x86, reason="is about x86")


@is_x86
def test_code_uses_nothing_that_is_not_looked_for():
    words = host_target().features.split(",")
    assert {w[1:] for w in words if w[0] == "+"} <= BASE | CHECKED.keys()
    every = llvm.get_host_cpu_features()
    assert {w[1:] for w in words} >= set(every), "what LLVM knows of is on or off, never left to the processor's name"


def test_what_is_not_known_is_off():
    assert closed("+avx2,-sse4a,+amx-fp8,+64bit,+raoint") == "+avx2,-sse4a,-amx-fp8,+64bit,-raoint"
    assert needed("+lzcnt,-avx2,+f16c,+64bit") == ["f16c", "lzcnt"]


@is_x86
@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_programs_find_what_llvm_finds(tmp_path):
    class Feature(ctypes.Structure):
        _fields_ = [("name", ctypes.c_char_p), ("leaf", ctypes.c_uint32), ("subleaf", ctypes.c_uint32),
                    ("place", ctypes.c_int32), ("bit", ctypes.c_int32), ("state", ctypes.c_uint64)]  # fmt: skip

    (tmp_path / "native.h").write_text(native_header())
    source = str(FOLDER / "features.c")
    command = ["cc", "-shared", "-fPIC", f"-I{tmp_path}", f"-I{FOLDER}", source, "-o", "features.so"]
    subprocess.run(command, check=True, cwd=tmp_path)
    library = ctypes.CDLL(str(tmp_path / "features.so"))
    library.graphc_missing_feature.restype = ctypes.c_char_p

    def lacks(name: str, bit: Bit) -> bool:
        return bool(library.graphc_missing_feature((Feature * 2)(Feature(name.encode(), *bit))))

    host = llvm.get_host_cpu_features()
    assert {n: not lacks(n, b) for n, b in CHECKED.items()} == {n: bool(host.get(n)) for n in CHECKED}
    assert lacks("of no processor", Bit(0x7FFFFFFF, 0, 0, 0)) and lacks("of no system", Bit(1, 0, 2, 28, 1 << 62))
