"""What makes graphs: tracer, tensors, variables, array functions, nn, optim, random, control flow."""

from . import binary, creation, devices, emit, indexing, interop, linalg, shapes, unary
from .operators import functions

functions.binary = binary
functions.creation = creation
functions.devices = devices
functions.emit = emit
functions.indexing = indexing
functions.interop = interop
functions.linalg = linalg
functions.shapes = shapes
functions.unary = unary
