"""What a model writes, read: thoughts, calls of tools, and the text that is for people. Pure: text in, parts out."""
