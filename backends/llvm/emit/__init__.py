"""LLVM IR for one function: its text, the primitives of recipes, conversions, memory, mathematical functions."""
