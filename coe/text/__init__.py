"""Text to token ids and back: chat templates and tokenizers, single tokens, detokenizing."""
