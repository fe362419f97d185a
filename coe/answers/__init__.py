"""The answer cache: answers at temperature 0 that are given again, to whoever asked them and to nobody else."""
