"""`coe bench switch`: what it costs to run another expert, per tier, beside the limits and beside doing without coe."""
