"""The memory of a tier: one allocation, the frames that units take in it, and the device that it belongs to."""
