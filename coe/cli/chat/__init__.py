"""`coe chat`: a conversation with a running server at a terminal, or over a pipe.

command.py   the arguments, and the loop: a line, an answer, what it cost
session.py   what has been said so far, and the commands that begin with /
terminal.py  lines in, text out; history, colours and Ctrl-C
summary.py   the line below an answer
"""
