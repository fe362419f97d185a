"""Memory of a tier: one arena, the frames that units take in it, and the device behind it."""
