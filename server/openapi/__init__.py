"""The description of the endpoints at /openapi.json (OpenAPI 3.1): bodies, answers, errors, keys.

answers.py has the shapes of answers, document.py every endpoint. Nothing here is used to answer a request; a test holds
the document against the routes and the answers.
"""
