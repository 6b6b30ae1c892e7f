"""`gx.linalg`: products and norms, with the names of the Python array API standard."""

from typing import TYPE_CHECKING

from .frontend.linalg import diagonal, matmul, matrix_transpose, outer, tensordot, trace, vecdot, vector_norm
from .frontend.words import Place, unknown_in

__all__ = ["diagonal", "matmul", "matrix_transpose", "outer", "tensordot", "trace", "vecdot", "vector_norm"]

if not TYPE_CHECKING:  # for which every name would be there
    __getattr__ = unknown_in(Place.LINALG)
