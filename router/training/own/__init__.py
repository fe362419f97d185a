"""Categories that a user makes up: descriptions and any number of rows, beside general prompts and a trained router."""
