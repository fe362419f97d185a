"""`coe router score`: how well each expert answers labelled prompts. A mapping is learned from these scores."""
