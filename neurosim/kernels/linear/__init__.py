"""A linear synapse and the neurons behind it."""
