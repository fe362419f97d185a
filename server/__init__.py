"""The HTTP endpoint of coe: one module, or one package for a dialect, for each concern.

openai/ has OpenAI's shapes and endpoints, which live there and nowhere else; routing.py the decision and /v1/route;
admin.py, health.py what operators ask. generation.py, stream.py, bodies.py and failures.py are what endpoints share.
"""
