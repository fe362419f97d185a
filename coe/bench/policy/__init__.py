"""`coe bench policy`: bytes that eviction policies move, beside the offline optimum."""
