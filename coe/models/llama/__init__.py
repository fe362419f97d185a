"""Decoders of Llama's shape: their sizes, the binding of their weights, and the eager forward pass."""
