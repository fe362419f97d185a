"""Who may ask: API keys, the hosts and web pages that may talk to the server, and how much a key may use.

keys, origins and limits decide and know nothing about HTTP; door.py asks them; gate.py is the layer that every request
goes through.
"""
