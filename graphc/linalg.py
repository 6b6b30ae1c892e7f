"""`gx.linalg`: products and norms, with the names of the Python array API standard."""

from typing import TYPE_CHECKING

from .frontend.linalg import (
    cross,
    diagonal,
    matmul,
    matrix_power,
    matrix_transpose,
    outer,
    tensordot,
    trace,
    vecdot,
)
from .frontend.norms import matrix_norm, vector_norm
from .frontend.words import Owner, unknown_in

__all__ = [
    "cross", "diagonal", "matmul", "matrix_norm", "matrix_power", "matrix_transpose", "outer", "tensordot", "trace",
    "vecdot", "vector_norm",
]  # fmt: skip

if not TYPE_CHECKING:  # for which every name would be there
    __getattr__ = unknown_in(Owner.LINALG)
