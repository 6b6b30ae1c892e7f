"""The llvm backend: kernels to LLVM IR text, machine code, and executables."""

from __future__ import annotations

from .backend import LLVMBackend

backend = LLVMBackend()
