"""What makes graphs: tracer, tensors, variables, array functions, nn, optim, random, control flow."""
