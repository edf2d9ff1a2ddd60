"""Sparse and delayed synapses."""
