"""The engine: one thread per device that owns the scheduler, the residency tables and the model."""
