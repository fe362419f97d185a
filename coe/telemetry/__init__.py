"""What one can see of a running composition: series, and lines about routers in shadow."""
