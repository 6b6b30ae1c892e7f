"""What to run first where a GPU is at hand: `python -m benchmarks.gpu`."""
