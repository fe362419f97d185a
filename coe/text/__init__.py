"""Text to token ids and back: chat templates, tokenizers, vocabularies, detokenizing."""
