"""OpenAI's dialect: requests read and checked, answers written whole and in chunks, the endpoints under /v1.

Source: OpenAI's API reference for chat completions, completions, models and errors.
"""
