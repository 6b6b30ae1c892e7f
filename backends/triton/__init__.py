"""The Triton backend: kernels become Triton source, which runs in Triton's interpreter or is compiled for a GPU.

    source      Kernel → source text and its launches        program    Schedule → launches over planned memory
    interpret   runs a program on NumPy arrays, without a GPU compile    source → PTX and cubin, without a GPU
"""
