"""Loop nests: loops and reductions, from their plan to the values at each place."""
