"""Backends: one class that runs the forward pass of one architecture in one arithmetic on one kind of processor."""
