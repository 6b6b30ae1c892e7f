"""graphc: a compiled, graph-based deep-learning compiler."""
