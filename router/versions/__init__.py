"""Versions of a trained router: retraining with feedback, the gate before a version is served, promotion and rollback.

Serving imports nothing of this package: what it reads of a folder of versions is in router/model/versions.py.
"""
