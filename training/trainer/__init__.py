"""Training: the loop, the step and what belongs to them."""
