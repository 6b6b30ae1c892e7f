"""Kernel → kernel, for every backend: cut apart, joined, ordered; and how sums are cut into blocks."""
