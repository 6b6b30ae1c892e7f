"""What makes graphs: tracer, tensors, variables, array functions, nn, optim, random, control flow."""

from . import (
    operators as operators,
)  # before all others: the functions and the classes they make need each other
