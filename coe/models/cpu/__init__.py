"""Compiled CPU arithmetic: decode steps, row kernels, tiles and the threads that share them."""
