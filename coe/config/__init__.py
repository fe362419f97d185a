"""coe.toml read, checked and described; what its sources hold; what the machine's memory allows."""
