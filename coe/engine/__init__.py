"""The engine thread: its loop, the steps it runs, sequences, prefix reuse and sampling."""
