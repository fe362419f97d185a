"""`coe bench engine`: tokens a second and time to first token, beside the memory's ceiling and what others do."""
