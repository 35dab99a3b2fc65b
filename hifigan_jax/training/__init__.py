"""Training: the state, the one compiled step, and the loop around it."""
