"""The Triton backend: kernels become Triton source, which runs in Triton's interpreter or is compiled for a GPU.

source       Kernel → source text and launches        program      Schedule → launches over regions of memory
compile      source → PTX and cubin, without a GPU    interpreted  runs programs on NumPy arrays, without a GPU
cuda         runs programs on an NVIDIA GPU           listing      what people read
"""

from __future__ import annotations

from .backend import TritonBackend

backend = TritonBackend()
