"""`gx.linalg`: products and norms, with the names of the Python array API standard."""

from .frontend.linalg import diagonal, matmul, matrix_transpose, outer, tensordot, trace, vecdot, vector_norm

__all__ = ["diagonal", "matmul", "matrix_transpose", "outer", "tensordot", "trace", "vecdot", "vector_norm"]
