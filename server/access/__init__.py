"""Who may ask: API keys, the hosts and web pages that may talk to the server, and how much a key may use.

keys, origins and limits decide and know nothing about HTTP; gate.py is the door that every request goes through.
"""
