"""Products of matrices: blocking, packing, register tiles, and what is fused into them."""
