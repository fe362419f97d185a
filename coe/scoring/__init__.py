"""Scores of experts on labelled prompts, through the runtime: what a mapping is learned from."""
