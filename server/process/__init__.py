"""The process that serves: its listening socket, what it answers while it starts, its end, and who starts it again."""
