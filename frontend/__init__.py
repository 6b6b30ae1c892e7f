"""What makes graphs: tracer, tensors, variables, array functions, nn, optim, random, control flow."""

from . import operators as operators   # first: the array functions and the classes they make need each other
