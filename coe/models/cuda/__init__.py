"""CUDA: paged KV memory, decode steps with fixed addresses, their capture and replay."""
