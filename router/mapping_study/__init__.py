"""Mappings category -> expert learned from score tables: the optimum under a budget, the frontier, held-out studies.

Serving imports nothing of this package; it reads the mapping file that `coe router map` writes.
"""
