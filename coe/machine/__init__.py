"""The machine: what it lets this process take of processors and memory, and the record of it that a figure carries."""
