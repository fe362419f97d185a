"""OpenAI's responses: POST /v1/responses, and those that were kept: retrieve, delete, go on with."""
