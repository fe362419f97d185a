"""The HTTP endpoint of coe: one module, or one package for a dialect, for each concern.

openai/ has OpenAI's shapes and endpoints, which live there and nowhere else; routing.py the decision and /v1/route;
admin.py, health.py what operators ask. access/ is the gate in front of them, connection.py what is below HTTP, openapi/
describes them, page/ is what a browser gets at /, process/ is the process around them. generation.py, stream.py,
bodies.py, failures.py and request_log.py are what endpoints share.
"""
