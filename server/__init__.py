"""The HTTP face of coe: OpenAI shapes live here and nowhere else."""
