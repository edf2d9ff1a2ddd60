"""A population of neurons over time."""
