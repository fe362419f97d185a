"""Which units are in which tier, which may leave it and in what order: decisions without bytes, clocks or threads."""
