"""What changes graphs: rewrites, differentiation, fusion, memory planning."""
