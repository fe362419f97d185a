"""How good and how fast a trained router is: accuracy, calibration, doubt, latency, and the worth of stickiness.

Serving imports nothing of this package.
"""
